"""The methods of this step, one by one: what each says differently, and the summary that one of them needs."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
import torch

import engine.summary
from collectors.item import Item, Signal
from collectors.sample import Sample
from engine.backbone import Backbone
from engine.encoder import WIDTH, encode
from engine.methods import Ask
from engine.methods.history import History
from engine.methods.none import PROMPTS, NoProfile
from engine.methods.retrieval import Retrieval
from engine.methods.summary import Summary
from engine.profile import REPRESENTATIVES, Profile, build
from engine.summary import MAX_EXAMPLE_TOKENS, summarize, whole_sentences

LONG = "my neighbour has again explained the compost rules to a passing fox " * 12
ASK = Ask(payload="cats")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """On cores that others use, two threads that wait for each other are ten times slower than one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def spread(texts: Sequence[str]) -> np.ndarray:
    """A stand-in for the encoder where vectors do not matter: one axis for each text."""
    return np.eye(WIDTH, dtype=np.float32)[: len(texts)]


def liking(texts: Sequence[str], signs: Sequence[int] = (1,), summary: str = "") -> Profile:
    items = [Item("made", str(i), "joke", text) for i, text in enumerate(texts)]
    reactions = [(item, Signal(item.id, sign)) for item, sign in zip(items, cycle(signs), strict=False)]
    return build("made", reactions, summary=summary, encode=spread)


def content(method: History | Retrieval | Summary | NoProfile, lm: Backbone, who: Profile, ask: Ask = ASK) -> str:
    return method.condition(lm, who, {}, ask).messages[-1]["content"]


def shown(method: History, lm: Backbone, who: Profile) -> list[str]:
    """The examples as the model reads them."""
    return [line.removeprefix("- ") for line in content(method, lm, who).splitlines() if line.startswith("- ")]


# ---- none


def test_the_floor_knows_nothing_of_the_person(tiny, profile):
    other = liking(["a completely different taste"] * 5, summary="This person enjoys silence.")
    for prompt in PROMPTS:
        method = NoProfile(prompt)
        told = method.condition(tiny, profile, {}, ASK)
        for anybody in (other, Profile("new")):
            assert method.condition(tiny, anybody, {}, ASK).messages == told.messages
        assert told.evidence == ()
        rendered = tiny.render(told.messages)
        about = [profile.summary, *(item.text for item in profile.items), *(topic.label for topic in profile.topics)]
        assert not [text for text in about if text in rendered]
        assert rendered.count(ASK.instruction()) == 1


def test_the_floors_prompts_differ(tiny, profile):
    arms = [NoProfile(prompt).condition(tiny, profile, {}, ASK) for prompt in PROMPTS]
    assert len(arms) == 3
    assert len({tiny.render(arm.messages) for arm in arms}) == 3
    assert len({arm.messages[-1]["content"] for arm in arms}) == 1  # only in how the model is addressed
    assert [len(arm.messages) for arm in arms] == [1, 2, 2]


# ---- history


def test_history_shows_the_latest_likes_oldest_first(tiny):
    who = liking([f"joke {i}" for i in range(9)], signs=(1, 1, -1))  # 2, 5 and 8 are disliked
    told = History(k=3).condition(tiny, who, {}, ASK)
    assert shown(History(k=3), tiny, who) == ["joke 4", "joke 6", "joke 7"]
    assert told.evidence == ("made:4", "made:6", "made:7")
    assert told.messages[0]["content"].index("joke 7") < told.messages[0]["content"].index(ASK.instruction())
    assert shown(History(k=50), tiny, who) == [f"joke {i}" for i in (0, 1, 3, 4, 6, 7)]


def test_history_lacks_only_a_like(tiny):
    assert History().lacks(tiny, liking(["a"], signs=(-1,)))
    assert History().lacks(tiny, liking(["a"], signs=(0,)))
    assert History().lacks(tiny, liking(["a"])) is None


def test_long_likes_are_cut_to_equal_shares_and_marked(tiny):
    examples = shown(History(k=4, max_tokens=80), tiny, liking([LONG] * 4))
    assert len(examples) == 4
    for example in examples:
        assert example.endswith(" ...")
        kept = example.removesuffix(" ...")
        assert LONG.startswith(kept)
        assert len(tiny.tokens(kept)) == 20


@pytest.mark.parametrize("short", [0, 1, 2])
def test_what_a_short_like_leaves_the_next_may_use(tiny, short):
    texts = [LONG] * 3
    texts[short] = "Short."
    tokens = len(tiny.tokens("Short."))
    examples = shown(History(k=3, max_tokens=90), tiny, liking(texts))
    assert examples[short] == "Short."  # whole, and so without a mark
    lengths = [len(tiny.tokens(example.removesuffix(" ..."))) for example in examples]
    rest = 90 - tokens
    assert (
        lengths
        == {
            0: [tokens, rest // 2, rest - rest // 2],
            1: [30, tokens, 60 - tokens],
            2: [30, 30, tokens],
        }[short]
    )


def test_the_budget_is_kept_whatever_was_liked(tiny):
    dice = np.random.default_rng(3)
    texts = [item.text for item, _ in Sample()]
    for _ in range(60):
        liked = [" ".join(dice.choice(texts, size=int(dice.integers(1, 9)))) for _ in range(int(dice.integers(1, 7)))]
        method = History(k=int(dice.integers(1, 7)), max_tokens=int(dice.integers(20, 200)))
        examples = shown(method, tiny, liking(liked))
        whole = [" ".join(text.split()) for text in liked[-method.k :]]
        assert len(examples) == len(whole)
        used = 0
        for example, text in zip(examples, whole, strict=True):
            kept = example if example == text else example.removesuffix(" ...")
            assert text.startswith(kept)
            used += len(tiny.tokens(kept))
        assert used <= method.max_tokens
        cut = any(example != text for example, text in zip(examples, whole, strict=True))
        assert cut or used == sum(len(tiny.tokens(text)) for text in whole)


def test_a_like_that_just_fits_is_whole(tiny):
    text = "One two three four five six seven."
    fits = len(tiny.tokens(text))
    assert shown(History(k=1, max_tokens=fits), tiny, liking([text])) == [text]
    assert shown(History(k=1, max_tokens=fits - 1), tiny, liking([text])) == ["One two three four five six seven ..."]


def test_a_like_of_many_lines_is_one_example(tiny):
    who = liking(["first\n\nsecond\n- third   fourth", "other"])
    assert shown(History(), tiny, who) == ["first second - third fourth", "other"]


@pytest.mark.parametrize("text", ["\u7b11" * 200, "\U0001f602\U0001f389\U0001f966" * 60], ids=["chinese", "emoji"])
def test_a_cut_never_splits_a_character(tiny, text):
    """These characters are several tokens each, and the cut is made between tokens."""
    for tokens in range(20, 26):
        [example] = shown(History(k=1, max_tokens=tokens), tiny, liking([text]))
        assert example.endswith(" ...")
        assert text.startswith(example.removesuffix(" ..."))
        assert len(example) > 5


# ---- retrieval


@pytest.fixture(scope="module")
def reader() -> Profile:
    """Sixty texts of the sample, every third disliked, with their real vectors."""
    items = [item for item, _ in Sample()][::4][:60]
    return build("reader", [(item, Signal(item.id, -1 if i % 3 == 2 else 1)) for i, item in enumerate(items)])


@pytest.mark.parametrize("k", [1, 4, 7])
@pytest.mark.parametrize("payload", ["cats", "a meeting at work", "my landlord", "the end of the world", "bread"])
def test_retrieval_finds_the_nearest_likes(tiny, reader, payload, k):
    method = Retrieval(History(k=k, max_tokens=2000), k=k)
    told = method.condition(tiny, reader, {}, replace(ASK, payload=payload))
    vectors = np.stack([encode([item.text])[0] for item in reader.liked])
    nearest = np.argsort(-(vectors @ encode([payload])[0]), kind="stable")[:k]
    expected = [reader.liked[i] for i in nearest][::-1]  # the nearest last, next to the request
    assert told.evidence == tuple(item.id for item in expected)
    lines = [line.removeprefix("- ") for line in told.messages[0]["content"].splitlines() if line.startswith("- ")]
    assert lines == [" ".join(item.text.split()) for item in expected]


def test_the_query_is_the_payload_and_nothing_else(tiny, reader):
    def found(ask: Ask) -> tuple[str, ...]:
        return Retrieval().condition(tiny, reader, {}, ask).evidence

    assert set(found(replace(ASK, payload="a cat"))) != set(found(replace(ASK, payload="quarterly budget meeting")))
    assert found(replace(ASK, kind="post")) == found(ASK)
    for item in reader.liked[:12]:
        assert found(replace(ASK, payload=f"{item.text} Ha."))[-1] == item.id  # nearest to the request
        assert item.id not in found(replace(ASK, payload=item.text))  # an item never retrieves itself
    for item, signal in zip(reader.items, reader.signals, strict=True):
        if signal.sign < 0:
            assert item.id not in found(replace(ASK, payload=item.text))


def test_retrieval_tells_like_history_what_it_found(tiny, reader):
    told = Retrieval().condition(tiny, reader, {}, ASK)
    by_id = {item.id: item for item in reader.items}
    found = liking([by_id[i].text for i in told.evidence])
    assert told.messages == History().condition(tiny, found, {}, ASK).messages


@pytest.mark.parametrize(
    ("likes", "lacks"),
    [
        (0, "it needs 4 more likes"),
        (1, "it needs 3 more likes"),
        (3, "it needs 1 more like"),
        (4, None),
        (9, None),
    ],
)
def test_retrieval_needs_more_likes_than_it_shows(tiny, likes, lacks):
    """With k likes or fewer it would say just what `history` says."""
    who = liking([f"joke {i}" for i in range(2 * likes)], signs=(1, -1))
    assert len(who.liked) == likes
    assert Retrieval(History(k=3), k=3).lacks(tiny, who) == lacks


# ---- summary, the method


def test_the_summary_stands_in_the_prompt_and_nothing_else_of_the_person(tiny, profile):
    told = Summary().condition(tiny, profile, {}, ASK)
    assert profile.summary in told.messages[0]["content"]
    assert ASK.instruction() in told.messages[0]["content"]
    assert not [item.text for item in profile.items if item.text in tiny.render(told.messages)]
    assert Summary().lacks(tiny, profile) is None
    named = replace(profile, summary_evidence=("test:4", "test:1", "test:d0", "gone"))
    assert Summary().condition(tiny, named, {}, ASK).evidence == ("test:1", "test:4"), "likes that still are likes"
    assert "summary" in Summary().lacks(tiny, replace(profile, summary=""))


def test_evidence_of_the_summary_is_what_it_was_written_from(tiny, reader, monkeypatch):
    """The app tells people why: likes that the summary's author never read are no reason."""
    asked = spied(monkeypatch)
    who = replace(reader, summary=summarize(tiny, reader) or "This person enjoys something.")
    read = asked[0][0].messages[0]["content"]
    by_id = {item.id: item for item in reader.items}
    unread = [i for i in Summary().condition(tiny, who, {}, ASK).evidence if by_id[i].text[:30] not in read]
    assert unread == []


# ---- the text of the summary


def spied(monkeypatch) -> list:
    """What `summarize` asks of the real decoder."""
    asked: list = []
    real = engine.summary.decode
    monkeypatch.setattr(engine.summary, "decode", lambda lm, told: asked.extend(told) or real(lm, told))
    return asked


def test_a_summary_is_the_librarys_greedy_answer_in_whole_sentences(tiny, profile, monkeypatch):
    asked = spied(monkeypatch)
    written = summarize(tiny, profile)
    assert summarize(tiny, profile) == summarize(tiny, replace(profile, summary="an older one")) == written
    [conditioning, ask] = asked[0]
    ids = torch.tensor([tiny.tokens(tiny.render(conditioning.messages))])
    answer = tiny.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        repetition_penalty=ask.repetition_penalty,
        max_new_tokens=ask.max_new_tokens,
        pad_token_id=tiny.tokenizer.eos_token_id,
    )[0, ids.shape[1] :]
    assert written == whole_sentences(tiny.text(answer.tolist()).strip())
    assert len(written) > 20


def test_the_real_model_writes_a_summary_of_whole_sentences(lm, profile):
    written = summarize(lm, profile)
    assert len(written.split()) > 5
    assert written[-1] in ".!?\u2026\"'"
    assert "\n- " not in written


def test_under_three_likes_there_is_no_summary(tiny, monkeypatch):
    asked = spied(monkeypatch)
    for likes in range(3):
        assert summarize(tiny, liking(["good"] * likes + ["bad"] * 5, signs=(1,) * likes + (-1,) * 5)) == ""
    assert asked == []
    summarize(tiny, liking(["one", "two", "three"]))
    assert len(asked) == 1


def test_a_summary_is_written_from_the_first_of_each_topic(tiny, reader, monkeypatch):
    asked = spied(monkeypatch)
    assert len(reader.topics) > 1
    summarize(tiny, reader)
    lines = asked[0][0].messages[0]["content"].splitlines()
    examples = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    by_rank = [t.examples[rank] for rank in range(3) for t in reader.topics if rank < len(t.examples)]
    expected = [tiny.text(tiny.tokens(item.text)[:MAX_EXAMPLE_TOKENS]) for item in by_rank[:REPRESENTATIVES]]
    assert examples == [" ".join(text.split()) for text in expected]


def test_few_topics_give_their_second_likes_too(tiny, monkeypatch):
    asked = spied(monkeypatch)
    texts = ["first a", "first b", "first c", "first d", "second a", "second b"]
    reactions = [(Item("m", t, "joke", t), Signal(f"m:{t}", 1)) for t in texts]
    who = build(
        "x", reactions, encode=lambda asked: np.stack([np.eye(WIDTH)[int(t.startswith("second"))] for t in asked])
    )
    assert [(len(t.examples), round(t.weight * 6)) for t in who.topics] == [(3, 4), (2, 2)]
    summarize(tiny, who)
    lines = asked[0][0].messages[0]["content"].splitlines()
    examples = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    assert examples == ["first a", "second a", "first b", "second b", "first c"]


def test_a_long_like_is_cut_between_characters_in_the_summarys_prompt(tiny, monkeypatch):
    asked = spied(monkeypatch)
    summarize(tiny, liking(["\U0001f602" * 50, "a" + "\U0001f602" * 50, LONG, "\u7b11" * 100]))
    text = asked[0][0].messages[0]["content"]
    lines = [line.removeprefix("- ") for line in text.splitlines() if line.startswith("- ")]
    assert len(lines) == 4
    assert max(len(tiny.tokens(line)) for line in lines) <= MAX_EXAMPLE_TOKENS
    assert "\ufffd" not in text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("One. Two.", "One. Two."),
        ("One. Two and thr", "One."),
        ("One! Two? Three and", "One! Two?"),
        ("Hm\u2026 and then", "Hm\u2026"),
        ("no end here", "no end here"),
        ("  no end, but space  ", "no end, but space"),
        ("", ""),
        ("...", "..."),
        ("He said 'wow.' and lef", "He said 'wow.'"),
        ('She said "stop!" and', 'She said "stop!"'),
        ("She said \u201cstop!\u201d and", "She said \u201cstop!\u201d"),
        ("They left (twice.) and", "They left (twice.)"),
        ("All of it.\n\nAnd one mo", "All of it."),
        ("It was 3.5 metres. It ate 2.5 gr", "It was 3.5 metres."),  # a point inside a number ends nothing
        ("They like puns and 3.5 stars", "They like puns and 3.5 stars"),
    ],
)
def test_whole_sentences(text, kept):
    assert whole_sentences(text) == kept


# ---- templates without a system role

NO_SYSTEM = (
    "{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "<turn>{{ m['role'] }}\n{{ m['content'] }}</turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}"
)


def speaking(lm: Backbone, template: str) -> Backbone:
    """The same model behind another chat template."""
    tokenizer = copy.deepcopy(lm.tokenizer)
    tokenizer.chat_template = template
    return Backbone(lm.model, tokenizer, lm.name, lm.plan)


def test_without_a_system_role_its_text_heads_the_first_user_turn(tiny, profile):
    other = speaking(tiny, NO_SYSTEM)
    assert tiny.has_system_role
    assert not other.has_system_role
    told = NoProfile("comedian").condition(other, profile, {}, ASK).messages
    before = copy.deepcopy(told)
    expected = f"<turn>user\n{PROMPTS['comedian']}\n\n{ASK.instruction()}</turn>\n<turn>model\n"
    assert other.render(told) == expected
    assert told == before
    plain = NoProfile("plain").condition(other, profile, {}, ASK).messages
    assert other.render(plain) == f"<turn>user\n{ASK.instruction()}</turn>\n<turn>model\n"


def test_only_the_system_turn_is_folded(tiny):
    other = speaking(tiny, NO_SYSTEM)
    roles = ("system", "user", "assistant", "user")
    turns = [{"role": role, "content": f"{i}."} for i, role in enumerate(roles)]
    expected = "<turn>user\n0.\n\n1.</turn>\n<turn>assistant\n2.</turn>\n<turn>user\n3.</turn>\n<turn>model\n"
    assert other.render(turns) == expected


def test_with_a_system_role_it_stays_a_turn(tiny, profile):
    rendered = tiny.render(NoProfile("comedian").condition(tiny, profile, {}, ASK).messages)
    assert rendered == (
        f"<|im_start|>system\n{PROMPTS['comedian']}<|im_end|>\n"
        f"<|im_start|>user\n{ASK.instruction()}<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_template_that_drops_the_system_turn_in_silence_has_no_system_role(tiny, profile):
    """As older ones do: they write user turns as [INST] and skip what they do not know."""
    silent = speaking(
        tiny,
        "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
        "{% elif m['role'] == 'assistant' %} {{ m['content'] }}{% endif %}{% endfor %}",
    )
    rendered = silent.render(NoProfile("comedian").condition(silent, profile, {}, ASK).messages)
    assert PROMPTS["comedian"] in rendered
