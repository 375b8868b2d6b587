"""A session from the first card to the standings: a real worker thread, a real store, a tiny model."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

import studies.worker
from collectors.item import MAX_WHY, Item, Signal
from collectors.sample import Sample
from engine.backbone import Backbone
from engine.methods import ARMS, METHODS, arm_id
from engine.methods.lora import LoRA
from engine.summary import MIN_LIKES
from studies import pairs, ratings
from studies.pairs import OPENING, title
from studies.ratings import rates, standings
from studies.schedule import HUMAN, TOPICS
from studies.session import (
    GENERATED_EVERY,
    MAX_DRAFTS,
    ME,
    BlindPair,
    CannotStart,
    Card,
    Liked,
    NotReady,
    Studio,
)
from studies.store import SHOWN, Refused, Row, Store
from studies.worker import FRUITLESS, READY_PAIRS, SUMMARY_EVERY, Worker
from tests.conftest import LIKES
from tests.names import BEGINNING, TAUGHT
from tests.studies.test_pairs import Talker, one_thread  # noqa: F401 - a fixture for every test here

Open = Callable[..., Studio]
HUMAN_POSTS = [
    Item("test", str(n), "post", f"A person was here ({n}) and left before the bus came.") for n in range(30)
]


@pytest.fixture
def open_room(tmp_path: Path, tiny: Backbone) -> Iterator[Open]:
    """Opens the studio of one folder, as often as asked; the pages "a" and "b" have entered. Closes what it opened."""
    opened: list[Studio] = []

    def open_room(lm: Backbone | None = None, start: bool = True, seed: int = 0) -> Studio:
        studio = Studio(Store(tmp_path), lm or Talker(tiny), seed)
        for session in ("a", "b"):
            studio.enter(session)
        opened.append(studio)
        if start:
            studio.start()
        return studio

    yield open_room
    for studio in opened:
        if studio.worker.is_alive():
            studio.close()


@pytest.fixture
def room(open_room: Open) -> Studio:
    return open_room()


def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def ready(studio: Studio) -> tuple[int, int]:
    return len(studio.store.ready(ME, "pair")), len(studio.store.ready(ME, "card"))


def settled(studio: Studio) -> None:
    """Wait until the worker has seen every reaction and has nothing left to write."""
    studio.worker.poke()
    until(lambda: len(studio.worker.profile.items) == len(studio.store.reactions(ME)))
    until(lambda: ready(studio)[0] in (READY_PAIRS, READY_PAIRS + 1) and ready(studio)[1] == 1)


def card(studio: Studio, session: str = "a") -> Card:
    shown = studio.next_card(session)
    assert shown is not None
    return shown


def react(studio: Studio, count: int, choice: str = "like") -> list[str]:
    """React to the next cards; returns their texts."""
    texts = []
    for _ in range(count):
        shown = card(studio)
        studio.react("a", shown.id, choice)
        texts.append(shown.text)
    return texts


def trial(studio: Studio, shown: BlindPair | Card) -> Row:
    (row,) = studio.store.db.rows("select * from trial where id = :id", id=shown.id)
    return row


def candidate(studio: Studio, one: str) -> Row:
    (row,) = studio.store.db.rows("select * from candidate where id = :id", id=one)
    return row


def stored(studio: Studio) -> list[list[Row]]:
    return [studio.store.db.rows(f"select * from {table}") for table in ("vote", "flag", "undo", "signal")]


def add_people(studio: Studio, items: Sequence[Item] = HUMAN_POSTS) -> None:
    studio.store.add(ME, [(item, None) for item in items])


def add_likes(studio: Studio, count: int) -> None:
    items = [
        Item("test", f"like {n}", "joke", f"Sock {n} has left the drawer, it sends its regards.") for n in range(count)
    ]
    studio.store.add(ME, [(item, Signal(item.id, 1)) for item in items])


# ---- blind by type


def test_what_the_page_gets_before_the_vote_has_no_field_for_a_method() -> None:
    assert [field.name for field in fields(BlindPair)] == ["id", "left_text", "right_text"]
    assert [field.name for field in fields(Card)] == ["id", "text"]


def test_nothing_before_the_vote_names_an_arm_and_the_record_is_what_was_shown(open_room: Open) -> None:
    studio = open_room(start=False)
    add_likes(studio, 5)
    add_people(studio)
    studio.start()
    until(lambda: studio.store.latest_summary(ME))
    names = [*ARMS, *METHODS, HUMAN, *(title(arm) for arm in [*ARMS, HUMAN])]
    met: set[str] = set()
    for _ in range(16):
        pair = studio.next_pair("a")
        told = json.dumps(asdict(pair)) + card(studio).id
        assert not [name for name in names if name in told]
        row = trial(studio, pair)
        left, right = candidate(studio, row["left_id"]), candidate(studio, row["right_id"])
        assert (left["text"], right["text"]) == (pair.left_text, pair.right_text)
        assert row["shown_at"] >= row["made_at"]
        reveal = studio.vote("a", pair.id, "left")
        assert (reveal.left.arm, reveal.right.arm) == (left["arm"], right["arm"])
        met |= {left["arm"], right["arm"]}
    assert met == {*BEGINNING, HUMAN}


# ---- pairs


def test_a_reload_shows_the_same_pair_and_a_vote_brings_the_next(room: Studio) -> None:
    first = room.next_pair("a")
    assert room.next_pair("a") == first
    assert room.next_pair("a", patience=0) == first
    other = room.next_pair("b")
    assert other.id != first.id
    room.vote("a", first.id, "neither")
    second = room.next_pair("a")
    assert second.id not in (first.id, other.id)
    assert room.next_pair("b") == other


def test_the_reveal_names_both_arms_and_the_likes_they_were_told_about(open_room: Open) -> None:
    studio = open_room(start=False)
    add_likes(studio, 6)
    studio.start()
    until(lambda: studio.store.latest_summary(ME))
    liked = {item.text for item, _ in studio.store.reactions(ME)}
    because: dict[str, int] = {}
    for n in range(14):
        pair = studio.next_pair("a")
        choice = ("left", "right", "both", "neither", "skip")[n % 5]
        reveal = studio.vote("a", pair.id, choice)
        assert reveal.choice == choice
        assert reveal.topic in TOPICS
        assert reveal.topic == json.loads(trial(studio, pair)["ask"])["payload"]
        for side in (reveal.left, reveal.right):
            assert side.title == title(side.arm)
            assert set(side.because) <= liked
            assert side.tokens > 4
            because[side.arm] = max(because.get(side.arm, 0), len(side.because))
    assert because.keys() == set(BEGINNING)
    assert {arm for arm, count in because.items() if count == 0} == {arm for arm in ARMS if arm.startswith("none")}


def test_the_standings_are_those_of_the_votes_that_were_not_taken_back(
    room: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ratings, "RESAMPLES", 20)
    for n in range(6):
        room.vote("a", room.next_pair("a").id, ("left", "both", "skip")[n % 3], [("left", "sounds_ai")])
    before = room.outcome("a")
    assert sum(row.wins + row.losses + row.ties for row in before.standings) == 2 * 4
    assert before.standings == tuple(standings(room.store.ballots()))
    assert before.rates == tuple(rates(room.store.ballots()))
    room.vote("a", room.next_pair("a").id, "right")
    assert room.outcome("a").standings != before.standings
    room.take_back_vote("a")
    assert (room.outcome("a").standings, room.outcome("a").rates) == (before.standings, before.rates)


def test_a_vote_taken_back_is_told_again_and_its_pair_is_not_asked_again(room: Studio) -> None:
    pair = room.next_pair("a")
    told = room.vote("a", pair.id, "left")
    back = room.take_back_vote("a")
    assert (back.choice, back.left, back.right, back.topic) == ("undone", told.left, told.right, told.topic)
    assert room.outcome("a").standings == ()
    assert room.next_pair("a").id != pair.id
    with pytest.raises(Refused, match="already"):
        room.vote("a", pair.id, "right")
    with pytest.raises(Refused, match="nothing to undo"):
        room.take_back_vote("a")


def test_verbs_refuse_what_is_not_theirs_and_store_nothing(room: Studio) -> None:
    pair, shown = room.next_pair("a"), card(room)
    other = card(room, "b")
    forged: dict[str, Callable[[], Any]] = {
        "another page's pair": lambda: room.vote("b", pair.id, "left", [("left", "sounds_ai")]),
        "another page's card": lambda: room.react("b", shown.id, "like"),
        "that page's card": lambda: room.react("a", other.id, "like"),
        "an unknown page's vote": lambda: room.vote("?", pair.id, "left"),
        "an unknown page's card": lambda: room.next_card("?"),
        "an unknown page's pair": lambda: room.next_pair("?"),
        "an unknown page's taste": lambda: room.taste("?"),
        "an unknown pair": lambda: room.vote("a", "f" * 32, "left"),
        "a card as a pair": lambda: room.vote("a", shown.id, "left"),
        "a pair as a card": lambda: room.react("a", pair.id, "like"),
        "a card skipped as a pair": lambda: room.vote("a", shown.id, "skip"),
        "a pair skipped as a card": lambda: room.react("a", pair.id, "skip"),
        "nothing to take back": lambda: room.take_back_card("a"),
    }
    before, got = stored(room), {}
    for case, verb in forged.items():
        try:
            got[case] = verb()
        except Exception as error:
            got[case] = type(error)
        assert stored(room) == before, case
    assert got == dict.fromkeys(forged, Refused)


# ---- the feed


def test_the_feed_mixes_the_sample_with_imported_posts_and_ends(open_room: Open) -> None:
    """Half of the imported posts: the other half is what blind pairs are measured against."""
    studio = open_room(start=False)
    add_people(studio)
    sample, imported = {item.text for item, _ in Sample()}, {item.text for item in HUMAN_POSTS}
    kept = {item.text for item in studio.store.unseen(ME, "pair", 99)}
    met = []
    while shown := studio.next_card("a"):
        assert studio.next_card("a") == shown  # a reload
        told = studio.react("a", shown.id, "skip").source
        assert told.endswith("the sample feed") if shown.text in sample else told == "from your import"
        met.append(shown.text)
    assert len(met) == len(set(met))
    assert set(met) == sample | (imported - kept)
    assert 5 < len(kept) < 25
    assert min(n for n, text in enumerate(met) if text in imported) < 60  # not only once the sample is used up
    assert {item.text for item in studio.store.unseen(ME, "pair", 99)} == kept


def test_the_feed_tells_no_joke_again_among_three_cards(open_room: Open) -> None:
    """Nearest to the taste would be one of them after the other."""
    studio = open_room(start=False)
    liked = [Item("test", f"liked {n}", "joke", text) for n, text in enumerate(LIKES)]
    one = "My dog filed a complaint about breakfast at 4 am, hearing number"
    twins = [Item("test", f"twin {n}", "joke", f"{one} {n}.") for n in range(24)]
    studio.store.add(ME, [*((item, Signal(item.id, 1)) for item in liked), *((item, None) for item in twins)])
    studio.worker.read()
    studio.store.vectors.keep([item.text for item in [*twins, *[item for item, _ in Sample()][::6]]])
    told = [text.startswith(one) for text in react(studio, 12, "skip")]
    assert sum(told) > 2
    assert max(sum(three) for three in zip(told, told[1:], told[2:], strict=False)) == 1


def test_where_no_post_is_left_the_feed_goes_on_with_what_the_model_writes(open_room: Open) -> None:
    studio = open_room()
    studio.store.add(ME, [(item, Signal(item.id, 0)) for item, _ in Sample()])
    for _ in range(3):
        until(lambda: bool(studio.store.ready(ME, "card")))
        shown = card(studio)
        assert studio.react("a", shown.id, "like").source == "written for you by the model"
    assert [item.maker for item, signal in studio.store.reactions(ME) if signal.sign] == ["model"] * 3


def test_every_fifth_card_is_written_by_the_model_where_one_is_ready(room: Studio) -> None:
    made, sources = [], []
    for _ in range(11):
        settled(room)
        shown = card(room)
        made.append(candidate(room, trial(room, shown)["left_id"])["arm"] != SHOWN)
        sources.append(room.react("a", shown.id, "dislike").source)
    assert [n for n, generated in enumerate(made, start=1) if generated] == [GENERATED_EVERY, 2 * GENERATED_EVERY]
    assert [source == "written for you by the model" for source in sources] == made
    assert {item.maker for item, _ in room.store.reactions(ME)} == {"project", "model"}
    assert room.outcome("a").standings == ()


def test_a_page_holds_three_cards_and_each_answer_brings_one_more(open_room: Open) -> None:
    studio = open_room(start=False)
    first = studio.cards("a")
    assert len(first) == 3
    assert studio.cards("a") == first, "a reload shows the same"
    studio.react("a", first[0].id, "like", 1_234)
    assert studio.cards("a")[:2] == first[1:]
    assert len(studio.cards("a")) == 3
    assert studio.store.db.rows("select viewed_ms from vote") == [{"viewed_ms": 1_234}]
    back = studio.take_back_card("a")
    assert back
    assert back.text == first[0].text
    assert back in studio.cards("a")


def test_a_judged_text_may_teach_and_its_vote_stays_a_vote(room: Studio) -> None:
    pair = room.next_pair("a")
    with pytest.raises(Refused, match="judge the pair first"):
        room.teach_from("a", pair.id, "left", True)
    room.vote("a", pair.id, "left")
    before = room.store.ballots()
    room.teach_from("a", pair.id, "left", True)
    room.teach_from("a", pair.id, "left", True)  # a switch pressed twice is on
    liked = [item for item, signal in room.store.reactions(ME) if signal.sign > 0]
    assert [item.text for item in liked] == [pair.left_text]
    assert liked[0].maker == "model", "it counts as no human truth"
    assert room.store.ballots() == before
    room.teach_from("a", pair.id, "left", False)
    assert room.store.reactions(ME) == ()
    room.teach_from("a", pair.id, "left", True)
    assert len(room.store.reactions(ME)) == 1
    for side in ("middle", "", "none"):
        with pytest.raises(Refused):
            room.teach_from("a", pair.id, side, True)
    room.enter("b")
    with pytest.raises(Refused):
        room.teach_from("b", pair.id, "right", True)


def test_one_pair_in_ten_comes_again_swapped_and_counts_for_itself_alone(open_room: Open) -> None:
    studio = open_room()
    seen = []
    for n in range(11):
        pair = studio.next_pair("a")
        reveal = studio.vote("a", pair.id, "left" if n % 2 else "right")
        seen.append((pair.left_text, pair.right_text))
        assert reveal.again == (n == 10)
    left, right = seen.pop()
    assert (right, left) in seen[:5], "at least six others lie between"
    assert len(studio.store.ballots()) == 10
    (again,) = studio.store.ballots("repeat")
    assert again.repeats
    assert studio.outcome("a").same
    assert not studio.vote("a", studio.next_pair("a").id, "left").again


def test_another_wish_holds_from_the_next_pair_and_leaves_what_was_judged(room: Studio) -> None:
    room.vote("a", room.next_pair("a").id, "left")
    room.wish("a", "caption", "a duck at a desk")
    until(lambda: ready(room)[0] >= 2 and all(
        "a duck at a desk" in row["ask"] for row in room.store.db.rows(
            "select ask from trial where kind = 'pair' and shown_at is null and void_reason is null")
    ))  # fmt: skip
    reveal = room.vote("a", room.next_pair("a").id, "right")
    assert (reveal.kind, reveal.topic) == ("caption", "a duck at a desk")
    assert len(room.store.ballots()) == 2
    with pytest.raises(Refused):
        room.wish("a", "sonnet", "")


def test_a_feed_does_not_wait_for_the_model(open_room: Open) -> None:
    studio = open_room(start=False)
    texts = react(studio, 2 * GENERATED_EVERY, "like")
    assert len(set(texts)) == 2 * GENERATED_EVERY


@pytest.mark.parametrize("choice", ["like", "dislike", "skip"])
@pytest.mark.parametrize("another_on_the_table", [False, True])
def test_a_card_taken_back_lies_on_the_table_again(open_room: Open, choice: str, another_on_the_table: bool) -> None:
    """The page asks for the next card at once, so that one is there when somebody thinks better of it."""
    studio = open_room(start=False)
    react(studio, 1)
    shown = card(studio)
    studio.react("a", shown.id, choice)
    following = studio.next_card("a") if another_on_the_table else None
    back = studio.take_back_card("a")
    assert back is not None
    assert back.text == shown.text
    assert studio.next_card("a") == back
    assert len(studio.store.reactions(ME)) == 1
    studio.react("a", back.id, "dislike")
    assert [signal.sign for item, signal in studio.store.reactions(ME) if item.text == shown.text] == [-1]
    after = card(studio)
    assert after.text != shown.text
    assert following is None or after == following


@pytest.mark.parametrize("choice", ["like", "dislike", "skip"])
def test_a_generated_card_taken_back_lies_on_the_table_again(room: Studio, choice: str) -> None:
    react(room, GENERATED_EVERY - 1)
    settled(room)
    shown = card(room)
    assert room.react("a", shown.id, choice).source == "written for you by the model"
    card(room)
    back = room.take_back_card("a")
    assert back is not None
    assert back.text == shown.text
    assert room.react("a", back.id, "like").source == "written for you by the model"
    taught = [(item.maker, signal.sign) for item, signal in room.store.reactions(ME) if item.text == shown.text]
    assert taught == [("model", 1)]
    assert room.outcome("a").standings == ()


# ---- what a person says of their likes


def test_a_reason_belongs_to_a_card_that_this_page_liked(open_room: Open) -> None:
    studio = open_room(start=False)
    shown = card(studio)
    with pytest.raises(Refused, match="like it first"):
        studio.say_why("a", shown.id, "too early")
    studio.react("a", shown.id, "like")
    studio.say_why("a", shown.id, "  It is \x07about\n a cat. ")
    assert studio.likes("a") == [Liked(shown.text, False, "It is about a cat.")]
    studio.enter("b")
    with pytest.raises(Refused, match="like it first"):
        studio.say_why("b", shown.id, "of another page")
    disliked = card(studio)
    studio.react("a", disliked.id, "dislike")
    with pytest.raises(Refused, match="like it first"):
        studio.say_why("a", disliked.id, "no")
    studio.take_back_card("a")
    studio.take_back_card("a")
    with pytest.raises(Refused, match="like it first"):
        studio.say_why("a", shown.id, "taken back")


def test_what_is_said_of_likes_is_kept_and_reaches_the_profile(open_room: Open) -> None:
    studio = open_room(start=False)
    react(studio, 1, "dislike")
    one, two = react(studio, 2)
    assert studio.likes("a") == [Liked(two, False, ""), Liked(one, False, "")]
    said = [Liked(two, True, "x" * 2 * MAX_WHY), Liked(one, False, ""), Liked("of nobody", True, "never seen")]
    assert studio.remark("a", said) == 1
    assert studio.remark("a", said) == 0
    kept = [Liked(two, True, "x" * MAX_WHY), Liked(one, False, "")]
    assert studio.likes("a") == kept
    studio.worker._person()
    profile, digest = studio.worker.profile, studio.worker.profile.digest
    assert [item.text for item in profile.picked] == [two]
    studio.remark("a", [Liked(one, True, "y")])
    studio.worker._person()
    assert [item.text for item in studio.worker.profile.picked] == [one, two]
    assert studio.worker.profile.digest == digest, "nothing is written or sent anew for a remark"
    assert studio.worker.profile.vectors is profile.vectors
    assert Studio(Store(studio.folder), studio.lm).store.reactions(ME) == studio.store.reactions(ME)


def test_an_import_may_hold_remarks_and_the_person_has_the_last_word(open_room: Open) -> None:
    studio = open_room(start=False)
    item = Item("test", "1", "joke", "A sock walks into a bar.")
    studio.store.add(ME, [(item, Signal(item.id, 1, note="socks", picked=True))])
    assert studio.likes("a") == [Liked(item.text, True, "socks")]
    studio.remark("a", [Liked(item.text, False, "bars")])
    studio.store.add(ME, [(item, Signal(item.id, 1, note="socks", picked=True))])
    assert studio.likes("a") == [Liked(item.text, False, "bars")]


def test_the_same_text_from_two_sources_is_one_row_and_loses_nothing(open_room: Open) -> None:
    studio = open_room(start=False)
    twins = [Item("test", name, "joke", "A sock walks into a bar.") for name in ("a", "b")]
    studio.store.add(
        ME, [(twins[0], Signal(twins[0].id, 1, note="socks")), (twins[1], Signal(twins[1].id, 1, picked=True))]
    )
    assert studio.likes("a") == [Liked("A sock walks into a bar.", True, "socks")]
    studio.remark("a", studio.likes("a"))
    assert studio.likes("a") == [Liked("A sock walks into a bar.", True, "socks")]
    assert {(s.note, s.picked) for _, s in studio.store.reactions(ME)} == {("socks", True)}


def test_a_remark_is_seen_at_once_even_where_the_worker_is_busy(open_room: Open) -> None:
    studio = open_room(start=False)
    react(studio, 5)
    studio.worker._person()  # and from here on it sees nothing
    picked = arm_id(LoRA(of="picked"))
    assert "pick 5 more" in next(way.lacks for way in studio.ways("a") if way.arm == picked)
    studio.remark("a", [replace(liked, picked=True) for liked in studio.likes("a")])
    assert "learned nothing yet" in next(way.lacks for way in studio.ways("a") if way.arm == picked)


def test_drafts_are_kept_nowhere(open_room: Open) -> None:
    studio = open_room(start=False)
    texts = react(studio, MAX_DRAFTS + 2)
    before = studio.likes("a")
    assert len(studio.draft_reasons(texts)) == MAX_DRAFTS
    assert studio.draft_reasons([]) == []
    assert studio.likes("a") == before


# ---- taste and its summary


def test_taste_tells_counts_topics_summary_and_what_is_waited_for(open_room: Open) -> None:
    studio = open_room(start=False)
    react(studio, 1)
    react(studio, 2, "dislike")
    react(studio, 1, "skip")
    taste = studio.taste("a")
    assert (taste.likes, taste.dislikes, taste.votes, taste.summary) == (1, 2, 0, "")
    assert {name for name, _ in taste.waiting} == {
        title(arm) for arm in [*OPENING, HUMAN] if not arm.startswith("none")
    }
    react(studio, 6)
    studio.start()
    until(lambda: studio.taste("a").summary)
    studio.vote("a", studio.next_pair("a").id, "left")
    taste = studio.taste("a")
    assert (taste.likes, taste.dislikes, taste.votes) == (7, 2, 1)
    assert taste.summary == (studio.store.latest_summary(ME) or {})["text"]
    assert 0 < len(taste.topics) <= 6
    assert [name for name, _ in taste.waiting] == [*(title(arm) for arm in TAUGHT if arm in OPENING), title(HUMAN)]


def test_the_summary_comes_with_three_likes_and_anew_after_five_more_reactions(room: Studio) -> None:
    def versions() -> list[Row]:
        return room.store.db.rows("select * from summary order by rowid")

    react(room, MIN_LIKES - 1)
    react(room, 3, "dislike")
    settled(room)
    time.sleep(0.2)
    assert versions() == []
    react(room, 1)
    until(versions)
    settled(room)
    (first,) = versions()
    reacted = len(room.store.reactions(ME))
    assert (first["rater"], first["reactions"], first["engine"]) == (ME, reacted, room.lm.fingerprint)
    assert first["profile_digest"] == room.worker.profile.digest
    while len(room.store.reactions(ME)) < reacted + SUMMARY_EVERY - 1:
        react(room, 1)
    settled(room)
    time.sleep(0.2)
    assert versions() == [first]
    react(room, 1)
    until(lambda: len(versions()) == 2)
    assert versions()[0] == first
    settled(room)
    newest = versions()[1]["id"]
    for _ in range(READY_PAIRS + 1):
        pair = room.next_pair("a")
        room.vote("a", pair.id, "both")
    assert trial(room, pair)["summary"] == newest
    written = room.store.db.rows("select distinct summary from trial where kind = 'pair' order by made_at")
    assert {row["summary"] for row in written} >= {None, newest}


def test_a_trial_names_the_summary_and_the_profile_that_its_texts_were_written_from(room: Studio) -> None:
    react(room, MIN_LIKES + 1)
    until(lambda: room.store.latest_summary(ME))
    settled(room)
    digests = {room.worker.profile.digest}
    summary = (room.store.latest_summary(ME) or {})["id"]
    for _ in range(READY_PAIRS):
        room.vote("a", room.next_pair("a").id, "skip")
    settled(room)
    waiting = [row["id"] for row in room.store.ready(ME, "pair")]
    rows = [row for row in room.store.db.rows("select * from trial where kind = 'pair'") if row["id"] in waiting]
    assert {(row["summary"], row["profile_digest"]) for row in rows} == {(summary, *digests)}


def test_the_summary_goes_on_being_renewed_when_only_the_latest_reactions_count(
    open_room: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies.worker, "MAX_SIGNALS", 6)
    studio = open_room()
    add_likes(studio, 6)
    studio.worker.poke()
    until(lambda: studio.store.latest_summary(ME))
    settled(studio)
    react(studio, 3 * SUMMARY_EVERY)  # every like that the summary was written from is out of the profile now
    studio.worker.poke()
    until(lambda: len(studio.store.db.rows("select id from summary")) > 1, seconds=5)


# ---- the worker


def test_the_worker_keeps_two_pairs_and_a_card_ready_and_then_rests(room: Studio) -> None:
    until(lambda: ready(room)[0] in (READY_PAIRS, READY_PAIRS + 1) and ready(room)[1] == 1)
    written = room.store.db.rows("select count(*) as n from trial")
    for _ in range(5):
        room.worker.poke()
        time.sleep(0.05)
    assert room.store.db.rows("select count(*) as n from trial") == written
    assert (room.worker.failures, room.worker.failure) == (0, "")
    for _ in range(4):
        room.vote("a", room.next_pair("a").id, "left")
        until(lambda: ready(room)[0] in (READY_PAIRS, READY_PAIRS + 1) and ready(room)[1] == 1)


def test_the_worker_survives_an_error_of_the_decoder(
    open_room: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, calls = pairs.decode, []

    def breaks_once(*told: Any) -> Any:
        calls.append(told)
        if len(calls) == 1:
            raise RuntimeError("the accelerator fell off")
        return real(*told)

    monkeypatch.setattr(pairs, "decode", breaks_once)
    studio = open_room()
    until(lambda: studio.worker.failures == 1)
    assert "the accelerator fell off" in studio.worker.failure
    assert "the accelerator fell off" in caplog.text
    assert studio.next_pair("a").left_text
    until(lambda: ready(studio)[0] >= READY_PAIRS)
    assert studio.worker.failures == 1


def test_while_the_decoder_fails_the_page_is_told_and_afterwards_it_goes_on(
    open_room: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*told: Any) -> Any:
        raise OSError("the accelerator fell off")

    with monkeypatch.context() as patch:
        patch.setattr(pairs, "decode", breaks)
        studio = open_room()
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(NotReady, match=r"no pair could be written .*the accelerator fell off.*try again"):
                studio.next_pair("a", patience=30)
            assert time.monotonic() - started < 10
        shown = card(studio)  # the feed does not need it
        assert studio.react("a", shown.id, "like").choice == "like"
        until(lambda: studio.worker.failures >= 3)

    def comes() -> bool:
        with suppress(NotReady):  # a round that began before may still have failed
            return bool(studio.next_pair("a").left_text)
        return False

    until(comes)


def test_a_model_that_writes_nothing_to_show_ends_in_a_sentence_and_not_in_a_loop(
    open_room: Open, tiny: Backbone
) -> None:
    studio = open_room(Talker(tiny, least=1, most=1))
    with pytest.raises(NotReady, match="nothing that could be shown"):
        studio.next_pair("a", patience=30)

    def tried() -> int:
        return len(studio.store.db.rows("select id from trial"))

    def at_rest() -> bool:
        before = tried()
        time.sleep(0.7)
        return tried() == before

    until(at_rest)
    assert tried() % FRUITLESS == 0
    assert FRUITLESS <= tried() <= 3 * FRUITLESS  # at the start, and again as the page asked
    assert at_rest()
    assert {row["void_reason"] for row in studio.store.db.rows("select void_reason from trial")} == {"empty"}
    studio.lm.least, studio.lm.most = 7, 12  # type: ignore[attr-defined]  # it has learned to talk
    assert studio.next_pair("a").left_text


def test_a_page_that_waits_too_long_is_told_so(open_room: Open) -> None:
    studio = open_room(start=False)
    started = time.monotonic()
    with pytest.raises(NotReady, match="still being written: try again"):
        studio.next_pair("a", patience=0.3)
    assert 0.3 <= time.monotonic() - started < 5


def test_no_verb_but_the_next_pair_waits_for_the_model(room: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = room.next_pair("a")
    settled(room)
    real, busy, done = pairs.decode, threading.Event(), threading.Event()

    def slow(*told: Any) -> Any:
        busy.set()
        done.wait(60)
        return real(*told)

    monkeypatch.setattr(pairs, "decode", slow)
    while ready(room)[0] >= READY_PAIRS:  # one more may be ready, and then the worker would have nothing to write
        room.vote("b", room.next_pair("b").id, "left")
    try:
        assert busy.wait(20)
        started = time.monotonic()
        room.vote("a", pair.id, "left", [("right", "sounds_ai")])
        shown = card(room)
        room.react("a", shown.id, "like")
        room.take_back_card("a")
        room.take_back_vote("a")
        assert room.next_pair("a").id != pair.id  # one more was ready
        room.taste("a")
        assert time.monotonic() - started < 5
    finally:
        done.set()


def test_new_arms_reach_the_pairs_that_are_written_next(room: Studio) -> None:
    settled(room)
    room.vote("a", room.next_pair("a").id, "left")
    react(room, 1)
    for _ in range(READY_PAIRS):
        room.vote("a", room.next_pair("a").id, "left")
    settled(room)
    schedules = room.store.db.rows("select arms from schedule order by rowid")
    assert len(schedules) == 2
    assert [arm for arm in json.loads(schedules[1]["arms"]) if arm.startswith("history")]
    assert len({row["schedule"] for row in room.store.ready(ME, "pair")}) == 1


def test_close_ends_the_thread(open_room: Open) -> None:
    for wait in (False, True):
        studio = open_room()
        if wait:
            settled(studio)
        studio.close()
        assert not studio.worker.is_alive()


def test_a_studio_that_was_never_started_can_be_closed(open_room: Open) -> None:
    open_room(start=False).close()


def test_close_is_heard_whenever_it_comes(open_room: Open) -> None:
    """Here it comes after the thread has looked whether to go on and before it begins its round."""
    studio = open_room(start=False)
    worker = studio.worker

    class Unlucky(threading.Event):
        def clear(self) -> None:
            worker._closing.set()
            worker._wanted.set()
            super().clear()

    worker._wanted = Unlucky()
    studio.start()
    worker.join(5)
    alive = worker.is_alive()
    worker._wanted.set()  # let it go in any case
    worker.join(5)
    assert not alive


# ---- restarts


def test_a_restart_keeps_votes_likes_and_what_lies_on_the_table(open_room: Open) -> None:
    studio = open_room()
    liked = react(studio, 4)
    done = studio.next_pair("a")
    studio.vote("a", done.id, "left", [("right", "sounds_ai")])
    pair, shown = studio.next_pair("a"), card(studio)
    settled(studio)
    waiting = [row["id"] for row in studio.store.ready(ME, "pair")]
    before = studio.store.ballots(), studio.store.reactions(ME), studio.outcome("a")
    studio.close()
    again = open_room()
    assert (again.store.ballots(), again.store.reactions(ME), again.outcome("a")) == before
    assert [item.text for item, _ in again.store.reactions(ME)] == liked
    assert again.next_pair("a") == pair
    assert again.next_card("a") == shown
    settled(again)
    assert [row["id"] for row in again.store.ready(ME, "pair")] == waiting  # nothing was written twice
    assert again.vote("a", pair.id, "right").choice == "right"
    assert len(again.store.ballots()) == 2


def test_a_restart_does_not_write_the_same_card_again(open_room: Open) -> None:
    texts = []
    for _ in range(3):
        studio = open_room()
        settled(studio)
        (waiting,) = studio.store.ready(ME, "card")
        row = studio.store.show(waiting["id"], "a")
        assert row is not None
        texts.append(row["left_text"])
        studio.react("a", row["id"], "skip")  # nothing is learned, so the profile stays what it was
        settled(studio)
        studio.close()
    assert len(set(texts)) == 3


# ---- imports


def test_an_import_is_read_whole_or_not_at_all(open_room: Open, tmp_path: Path) -> None:
    studio = open_room(start=False)
    path = tmp_path / "jokes.csv"
    path.write_text("joke,liked\nA duck walks in.,1\nA duck walks out.,0\nA duck stays.,\n")
    report = studio.import_table(path)
    assert (report.kept, report.likes, report.dislikes, report.unrated) == (3, 1, 1, 1)
    signs = {item.text: signal.sign for item, signal in studio.store.reactions(ME)}
    assert signs == {"A duck walks in.": 1, "A duck walks out.": -1}
    before = stored(studio), studio.store.db.rows("select * from item")
    for bad in (tmp_path / "missing.csv", tmp_path):
        with pytest.raises(CannotStart):
            studio.import_table(bad)
    with pytest.raises(CannotStart, match="no column 'points'"):
        studio.import_table(path, ["rating=points"])
    with pytest.raises(CannotStart, match="'stars' is no role"):
        studio.import_table(path, ["stars=joke"])
    assert (stored(studio), studio.store.db.rows("select * from item")) == before
    studio.import_table(path, ["text=joke", "like="])
    assert stored(studio) == before[0]


def test_an_import_of_unrated_posts_brings_the_human_arm(room: Studio, tmp_path: Path) -> None:
    assert title(HUMAN) in dict(room.taste("a").waiting)
    path = tmp_path / "posts.csv"
    path.write_text("\n".join(["text", *(f'"{item.text}"' for item in HUMAN_POSTS)]))
    room.import_table(path)
    assert title(HUMAN) not in dict(room.taste("a").waiting)
    texts = {item.text for item in HUMAN_POSTS}
    for _ in range(14):
        pair = room.next_pair("a")
        reveal = room.vote("a", pair.id, "both")
        for text, side in ((pair.left_text, reveal.left), (pair.right_text, reveal.right)):
            assert (text in texts) == (side.arm == HUMAN)
            assert (side.title == "a person wrote this") == (side.arm == HUMAN)
            assert side.arm != HUMAN or (side.because, side.tokens) == ((), 0)
    assert HUMAN in {rate.arm for rate in room.outcome("a").rates}


def test_a_folder_that_cannot_be_used_is_told_before_a_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CannotStart, match="choose a writable --data-dir"):
        Studio.open(tmp_path / "file", model=str(tmp_path / "no model"))


def test_the_worker_of_one_person_knows_nothing_of_another(open_room: Open) -> None:
    studio = open_room()
    studio.store.open_session("z", "you")
    react(studio, 1)
    settled(studio)
    assert studio.store.reactions("you") == ()
    assert studio.store.ready("you", "pair") == []
    with pytest.raises(NotReady):
        studio.next_pair("z", patience=0.1)
    other = Worker(studio.store, studio.lm, "you", 0)
    other.start()
    until(lambda: len(studio.store.ready("you", "pair")) >= READY_PAIRS)
    other.close()
    assert studio.next_pair("z", patience=0).id not in {row["id"] for row in studio.store.ready(ME, "pair")}
    assert other.profile.items == ()
