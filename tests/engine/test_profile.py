"""A profile is a value made of evidence: digest, topics, vectors, and the encoder that makes them."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch

from collectors.item import Item, Signal
from collectors.sample import Sample
from engine import encoder
from engine import profile as profiles
from engine.profile import EXAMPLES, HALF_LIFE, Book, Edit, Encode, Profile, build, digest

CHINESE = (
    "\u732b\u628a\u6211\u7684\u952e\u76d8\u5f53\u5e8a",
    "\u6211\u7684\u6253\u5370\u673a\u80fd\u95fb\u5230\u6050\u60e7\u6240\u4ee5\u6211\u5047\u88c5\u4e0d\u6025",
    "\u4eca\u5929\u65e9\u4e0a\u9e3d\u5b50\u66ff\u6211\u5f00\u95e8" * 12,
)
ARABIC = (
    "\u0642\u0637\u062a\u064a \u062a\u0639\u0642\u062f \u0643\u0644 \u0635\u0628\u0627\u062d",
    "\u0627\u0644\u0637\u0627\u0628\u0639\u0629 \u062a\u0634\u0645 \u0627\u0644\u062e\u0648\u0641",
    "\u0627\u0644\u062d\u0645\u0627\u0645\u0629 \u0641\u062a\u062d\u062a \u0644\u064a \u0627\u0644\u0628\u0627\u0628",
)
EMOJI = ("\U0001f602\U0001f602\U0001f602", "\U0001f389\U0001f966", "\U0001f408\u200d\u2b1b")
LABEL = 100  # characters that a person reads as a label and a page can hold


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """On cores that others use, two threads that wait for each other are ten times slower than one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def liking(texts: Sequence[str], sign: int = 1) -> list[tuple[Item, Signal]]:
    items = [Item("made", str(i), "joke", text) for i, text in enumerate(texts)]
    return [(item, Signal(item.id, sign)) for item in items]


class Counted:
    """A fast stand-in for the encoder: a text has the same vector whoever asks; it counts what it was given."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.given += texts
        rows = [np.random.default_rng(list(text.encode())).normal(size=encoder.WIDTH) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], np.float32).reshape(-1, encoder.WIDTH)


def placed(texts: Sequence[str], vectors: np.ndarray) -> Encode:
    """An encoder that puts each of `texts` where `vectors` says, and every other text (a word) nowhere."""
    where = dict(zip(texts, vectors, strict=True))
    return lambda asked: np.stack([where.get(text, np.zeros(encoder.WIDTH, np.float32)) for text in asked])


# ---- digest


def test_the_digest_names_the_evidence_whatever_its_order():
    reactions = liking([f"text {i}" for i in range(30)])
    reactions[3] = (reactions[3][0], replace(reactions[3][1], sign=-1, strength=0.5))
    base = build("a", reactions, encode=Counted())
    assert base.digest == digest(reactions)
    shuffled = random.Random(1).sample(reactions, len(reactions))
    assert shuffled != reactions
    assert build("a", shuffled, encode=Counted()).digest == base.digest
    assert build("somebody else", reactions, encode=Counted()).digest == base.digest
    assert build("a", reactions, summary="This person enjoys text.", encode=Counted()).digest == base.digest


def test_the_digest_changes_with_every_piece_of_evidence(monkeypatch):
    reactions = liking(["a", "b", "c"])
    item, signal = reactions[0]
    rest = reactions[1:]
    others = [
        reactions[:2],
        [*reactions, (Item("made", "9", "joke", "d"), Signal("made:9", 1))],
        [(item, replace(signal, sign=-1)), *rest],
        [(item, replace(signal, sign=0)), *rest],
        [(item, replace(signal, strength=0.75)), *rest],
        [(replace(item, source="other"), replace(signal, item_id="other:0")), *rest],
        [(replace(item, stand_in=True), signal), *rest],  # the words of a link, until its text is fetched
        [*reactions, reactions[0]],
        [],
    ]
    digests = [digest(each) for each in (reactions, *others)]
    monkeypatch.setattr(encoder, "NAME", "another encoder")
    digests.append(digest(reactions))
    assert len(set(digests)) == len(digests)


def test_a_digest_is_what_it_always_was():
    """It is stored with trials and names fitted states: changing how it is made forgets all of them."""
    assert digest(
        [(Item("b", "2", "joke", "b"), Signal("b:2", -1, 0.5)), (Item("a", "1", "joke", "a"), Signal("a:1", 1))]
    ) == ("0b003d8f0814d97281e55cf0d0ad9d2379338b69e2ea6b40af0ae458cd1a4889")


# ---- what counts


def test_only_the_latest_signals_count(monkeypatch):
    MAX_SIGNALS = 300
    monkeypatch.setattr(profiles, "MAX_SIGNALS", MAX_SIGNALS)
    old = [f"old {i}" for i in range(30)]
    new = [f"new {i}" for i in range(MAX_SIGNALS)]
    reactions = [
        (Item("made", text, "joke", text), Signal(f"made:{text}", 1 if i % 100 == 0 else -1))
        for i, text in enumerate([*old, *new])
    ]
    encode = Counted()
    profile = build("a", reactions, encode=encode)
    assert encode.given[: len(new)] == new
    assert not set(old) & set(encode.given)
    assert [item.text for item in profile.items] == new
    assert [s.item_id for s in profile.signals] == [f"made:{text}" for text in new]
    assert profile.vectors.shape == (MAX_SIGNALS, encoder.WIDTH)
    assert profile.digest == digest(reactions[-MAX_SIGNALS:])
    assert [item.text for item in profile.liked] == [f"new {i}" for i in range(70, MAX_SIGNALS, 100)]


def test_liked_is_the_likes_oldest_first():
    reactions = liking([f"text {i}" for i in range(9)])
    reactions = [(item, replace(s, sign=(1, -1, 0)[i % 3])) for i, (item, s) in enumerate(reactions)]
    assert [item.text for item in build("a", reactions, encode=Counted()).liked] == ["text 0", "text 3", "text 6"]


@pytest.mark.parametrize("reactions", [[], liking(["bad", "worse"], sign=-1), liking(["so so"], sign=0)])
def test_without_a_like_there_is_no_topic_and_no_direction(reactions):
    profile = build("a", reactions)
    assert profile.liked == profile.topics == ()
    assert profile.vectors.shape == (len(reactions), encoder.WIDTH)
    assert profile.vector.shape == (encoder.WIDTH,)
    assert not profile.vector.any()
    assert len(profile.digest) == 64
    assert Profile("a").vectors.shape == (0, encoder.WIDTH)


def test_one_like_is_one_topic():
    profile = build("a", liking(["The printer smells fear."]))
    [topic] = profile.topics
    assert (topic.weight, [item.text for item in topic.examples]) == (1.0, ["The printer smells fear."])
    assert set(topic.label.split(", ")) == {"fear", "printer", "smells"}
    assert np.allclose(profile.vector, profile.vectors[0])


def test_vectors_are_aligned_with_items_and_the_taste_is_the_mean_of_the_likes():
    texts = ["my cat is late", "quarterly budget", "a goat on the roof", "tax return", "the kitten has opinions"]
    signs = (1, -1, 1, 0, 1)
    reactions = [(item, replace(s, sign=sign)) for (item, s), sign in zip(liking(texts), signs, strict=True)]
    profile = build("a", reactions)
    for item, vector in zip(profile.items, profile.vectors, strict=True):
        assert np.allclose(vector, encoder._model().encode(item.text, normalize_embeddings=True), atol=1e-5)
    assert np.allclose(profile.vector, profile.vectors[[0, 2, 4]].mean(0))
    assert profile.vectors.dtype == profile.vector.dtype == np.float32


# ---- topics


@pytest.fixture(scope="module")
def two_tastes() -> Profile:
    """Who likes all of two communities of the sample, in mixed order, and dislikes some of a third."""
    items = [item for item, _ in Sample()]
    liked = [item for item in items if item.community in ("stacktrace", "longstory")]
    disliked = [item for item in items if item.community == "wrongbirds"][:4]
    reactions = [(item, Signal(item.id, 1)) for item in liked] + [(item, Signal(item.id, -1)) for item in disliked]
    random.Random(4).shuffle(reactions)
    return build("two", reactions)


def purity(profile: Profile, community: dict[str, str]) -> float:
    """How often the examples of a topic are of the community that most of them are of; topics of one say nothing."""
    agree = total = 0
    for topic in profile.topics:
        if len(topic.examples) > 1:
            kinds = [community[item.id] for item in topic.examples]
            agree += max(kinds.count(kind) for kind in kinds)
            total += len(kinds)
    assert total >= 10
    return agree / total


def test_topics_are_purer_than_chance(two_tastes):
    """The order in which likes come decides which topics they make, so in eight orders."""
    likes = liking([item.text for item in two_tastes.liked])
    kinds = {item.id: own.community for (item, _), own in zip(likes, two_tastes.liked, strict=True)}
    dice = random.Random(0)
    profiles = [build("two", dice.sample(likes, len(likes))) for _ in range(8)]
    found = np.mean([purity(profile, kinds) for profile in profiles])
    chance = []
    for _ in range(100):
        mixed = dict(zip(kinds, dice.sample(list(kinds.values()), len(kinds)), strict=True))
        chance.append(np.mean([purity(profile, mixed) for profile in profiles]))
    assert found > max(chance)
    assert found > 0.8


def test_one_by_one_is_all_at_once(two_tastes):
    """The quick way and its slow twin: what came since costs its own share and changes nothing else."""
    reactions = [
        (item, replace(signal, at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=9 * i) if i % 3 else None))
        for i, (item, signal) in enumerate(zip(two_tastes.items, two_tastes.signals, strict=True))
    ]
    book = Book("two")
    edits = (Edit("name", reactions[0][0].id, "mine"),)
    for end in (1, 5, 30, 31, len(reactions)):
        quick, slow = book.profile(reactions[:end], edits), build("two", reactions[:end], edits)
        assert quick.topics == slow.topics
        assert (quick.digest, quick.items, quick.signals) == (slow.digest, slow.items, slow.signals)
        assert np.array_equal(quick.vectors, slow.vectors)
        assert np.array_equal(quick.vector, slow.vector)
    shorter = book.profile(reactions[:7], edits)  # something was taken back
    assert shorter.topics == build("two", reactions[:7], edits).topics
    assert quick.topics == slow.topics != shorter.topics  # what was given out stays as it was


def test_what_was_given_out_is_never_written_again(two_tastes):
    reactions = list(zip(two_tastes.items, two_tastes.signals, strict=True))
    book = Book("two")
    first = book.profile(reactions[:5])
    before = first.vectors.copy()
    book.profile(reactions)
    book.profile(reactions[::-1])
    assert np.array_equal(first.vectors, before)


# ---- what the person does to it


def edited(profile: Profile, *edits: Edit) -> Profile:
    return build("two", list(zip(profile.items, profile.signals, strict=True)), edits)


def test_a_topic_can_be_named_and_pinned(two_tastes):
    last = [topic for topic in two_tastes.topics if topic.size > 1][-1]
    member = last.examples[-1].id  # any like of it will do
    mine = edited(two_tastes, Edit("name", member, "my own"), Edit("pin", member))
    assert (mine.topics[0].label, mine.topics[0].pinned, mine.topics[0].anchor) == ("my own", True, last.anchor)
    assert {t.anchor for t in mine.topics} == {t.anchor for t in two_tastes.topics}
    assert mine.digest != two_tastes.digest
    assert np.array_equal(mine.vector, two_tastes.vector)
    assert edited(two_tastes, Edit("name", member, "my own"), Edit("name", member, "")).digest == two_tastes.digest


def test_a_muted_topic_counts_no_more_nor_do_likes_to_come(two_tastes):
    first = two_tastes.topics[0]
    mute = Edit("mute", first.anchor)
    mine = edited(two_tastes, mute)
    assert [topic.anchor for topic in mine.muted] == [first.anchor]
    assert first.anchor not in {topic.anchor for topic in mine.topics}
    gone = {item.id for item in two_tastes.items} - {item.id for item in mine.items}
    assert len(gone) == first.size
    assert {item.id for item in first.examples} <= gone
    assert mine.vectors.shape == (len(mine.items), encoder.WIDTH)
    left = [signal.sign > 0 for signal in mine.signals]
    assert np.allclose(mine.vector, mine.vectors[left].mean(0), atol=1e-6)
    assert mine.digest != two_tastes.digest
    reactions = list(zip(two_tastes.items, two_tastes.signals, strict=True))
    again = Item("made", "again", "joke", first.examples[0].text)  # the same words once more
    later = build("two", [*reactions, (again, Signal(again.id, 1))], (mute,))
    assert again.id not in {item.id for item in later.items}
    assert edited(two_tastes, mute, Edit("mute", first.anchor, "")).items == two_tastes.items


def test_what_is_taken_out_is_gone_as_if_it_had_never_been(two_tastes):
    out = two_tastes.liked[3]
    reactions = [pair for pair in zip(two_tastes.items, two_tastes.signals, strict=True) if pair[0].id != out.id]
    mine, never = edited(two_tastes, Edit("out", out.id)), build("two", reactions)
    assert (mine.items, mine.topics) == (never.items, never.topics)
    assert np.allclose(mine.vector, never.vector)
    assert mine.digest not in (two_tastes.digest, never.digest)


def test_recent_likes_weigh_more():
    texts = ["old", "new", "undated"]
    axes = np.eye(encoder.WIDTH, dtype=np.float32)[:3]
    newest = datetime(2026, 6, 1, tzinfo=UTC)
    dates = [newest - timedelta(days=2 * HALF_LIFE), newest, None]
    likes = [(item, replace(s, at=at)) for (item, s), at in zip(liking(texts), dates, strict=True)]
    profile = build("a", likes, encode=placed(texts, axes))
    assert np.allclose(profile.vector[:3], np.array([0.25, 1, 0.5]) / 1.75)
    assert [topic.label for topic in profile.topics] == ["new", "undated", "old"]
    assert [topic.weight for topic in profile.topics] == pytest.approx([1 / 1.75, 0.5 / 1.75, 0.25 / 1.75])


def test_an_item_without_a_text_teaches_nothing():
    likes = liking(["a goat", ""])
    assert build("a", likes).items == (likes[0][0],)


def test_topics_share_out_the_likes_largest_first(two_tastes):
    weights = [topic.weight for topic in two_tastes.topics]
    likes = len(two_tastes.liked)
    assert len(weights) > 2
    assert sum(weights) == pytest.approx(1.0)
    assert weights == sorted(weights, reverse=True)
    seen: list[str] = []
    for topic in two_tastes.topics:
        size = round(topic.weight * likes)
        assert topic.weight == pytest.approx(size / likes)
        assert len(topic.examples) == min(size, EXAMPLES)
        seen += [item.id for item in topic.examples]
    assert len(set(seen)) == len(seen)
    assert set(seen) <= {item.id for item in two_tastes.liked}


def test_a_topics_label_is_of_words_of_its_own_likes(two_tastes):
    for topic in two_tastes.topics:
        if round(topic.weight * len(two_tastes.liked)) == len(topic.examples):  # the examples are all of it
            text = " ".join(item.text.lower() for item in topic.examples)
            words = topic.label.split(", ")
            assert 1 <= len(words) <= 3
            assert all(word in text for word in words)
    labels = [topic.label for topic in two_tastes.topics]
    assert len(set(labels)) == len(labels)


def test_labels_are_the_words_that_set_a_topic_apart():
    """Every like has 'office' in it, so it sets nothing apart; 'goat' and 'tax' do."""
    texts = ["goat office goat", "goat office ladder", "tax office tax", "tax office stamp"]
    axes = np.eye(encoder.WIDTH, dtype=np.float32)[[0, 0, 1, 1]]
    first, second = build("a", liking(texts), encode=placed(texts, axes)).topics
    assert (first.label.split(", ")[0], second.label.split(", ")[0]) == ("goat", "tax")
    assert (first.weight, second.weight) == (0.5, 0.5)


def test_labels_are_about_the_topic_and_not_the_words_jokes_are_told_with():
    """'said' stands in every one of these likes and 'asked' in most; neither says what they are about."""
    texts = [
        "'Sit', she said. The dog asked what was in it for him and sat, as he said, under protest.",
        "'Fetch', I said. The dog asked why I had thrown it, and said he could see it from there.",
        "The vet asked how old the puppy was. 'Old enough to vote', he said, and the puppy said nothing.",
        "'Whose paws are these', I asked the dog on my pillow. 'Ours', he said, and he said it fondly.",
    ]
    [topic] = build("a", liking(texts)).topics
    told = topic.label.split(", ")
    assert not {"said", "asked"} & set(told)
    assert {"dog", "puppy"} & set(told)


def test_examples_are_the_likes_nearest_the_centre():
    angles = np.radians([0, 40, 18, 22, 2])  # the centre is near 16 degrees
    vectors = np.zeros((5, encoder.WIDTH), np.float32)
    vectors[:, 0], vectors[:, 1] = np.cos(angles), np.sin(angles)
    texts = ["zero", "forty", "eighteen", "twentytwo", "two"]
    [topic] = build("a", liking(texts), encode=placed(texts, vectors)).topics
    assert [item.text for item in topic.examples] == ["eighteen", "twentytwo", "two"]


def test_the_same_likes_give_the_same_topics(two_tastes):
    reactions = list(zip(two_tastes.items, two_tastes.signals, strict=True))
    again = build("two", reactions)
    assert again.topics == two_tastes.topics
    assert np.array_equal(again.vectors, two_tastes.vectors)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(
    "texts",
    [CHINESE, ARABIC, EMOJI, ("the", "and of"), ("123", "4 5 6")],
    ids=["chinese", "arabic", "emoji", "stop words", "numbers"],
)
def test_likes_of_any_script_have_topics_with_labels_to_read(texts, count):
    profile = build("a", liking(texts[:count]))
    assert sum(topic.weight for topic in profile.topics) == pytest.approx(1.0)
    for topic in profile.topics:
        assert topic.label.strip()
        assert set(topic.label) & set("".join(texts)) - set(" ,")  # of the likes themselves
        assert len(topic.label) <= LABEL


def test_a_like_without_a_word_is_labelled_by_its_text_beside_one_with_words():
    axes = np.eye(encoder.WIDTH, dtype=np.float32)[:2]
    texts = ["goats everywhere", EMOJI[0]]
    topics = build("a", liking(texts), encode=placed(texts, axes)).topics
    assert {topic.label for topic in topics} == {"goats", EMOJI[0]}


# ---- the encoder


def test_encode_keeps_the_order_of_repeated_texts():
    a, b, c = (encoder.encode([text])[0] for text in ("a cat", "a budget", "a goat"))
    rows = encoder.encode(["a goat", "a cat", "a goat", "a budget", "a cat"])
    assert np.array_equal(rows, np.stack([c, a, c, b, a]))
    assert not np.allclose(a, b)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    assert rows.dtype == np.float32
    assert encoder.encode([]).shape == (0, encoder.WIDTH)


def test_a_text_is_encoded_once(monkeypatch):
    given: list[list[str]] = []
    real = encoder._model()

    class Watched:
        def encode(self, texts: list[str], **settings: object) -> np.ndarray:
            given.append(texts)
            return real.encode(texts, **settings)

    monkeypatch.setattr(encoder, "_model", Watched)
    first = encoder.encode(["once only, a heron", "once only, a spoon", "once only, a heron"])
    again = encoder.encode(["once only, a spoon", "once only, a heron"])
    assert given == [["once only, a heron", "once only, a spoon"]]
    assert np.array_equal(again, first[[1, 0]])
    assert np.array_equal(first[0], first[2])


def test_what_a_caller_does_to_vectors_is_not_remembered():
    before = encoder.encode(["a quiet spoon"]).copy()
    rows = encoder.encode(["a quiet spoon", "a quiet spoon"])
    rows[:] = 7.0
    assert np.array_equal(encoder.encode(["a quiet spoon"]), before)


def test_a_full_memory_is_emptied_and_forgets_no_row(monkeypatch):
    monkeypatch.setattr(encoder, "_known", {})
    monkeypatch.setattr(encoder, "MAX_KNOWN", 2)
    texts = [f"text {word}" for word in ("one", "two", "three", "four")]
    expected = encoder.encode(texts)
    mixed = encoder.encode(["text five", *texts[::-1]])  # over the limit, with known ones and a new one
    assert mixed.shape == (5, encoder.WIDTH)
    assert np.allclose(mixed[1:], expected[::-1], atol=1e-5)
    assert len(encoder._known) == 5
    encoder.encode(["text six"])
    assert list(encoder._known) == ["text six"]


def test_nearness_is_of_meaning():
    cat, kitten, taxes = encoder.encode(["a cat sleeps", "the kitten is asleep", "quarterly tax return"])
    assert cat @ kitten > cat @ taxes + 0.3
