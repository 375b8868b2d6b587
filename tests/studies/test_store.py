"""The store: what it keeps, what it refuses, and that an acknowledged write is never lost, in SQLite and PostgreSQL."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlite_utils

import studies.store
from collectors.item import CollectError, Item, Signal
from engine.methods.base import Ask
from studies.database import FILE, StoreError
from studies.migrations import migrations
from studies.schedule import HUMAN
from studies.store import CHOICES, LOCAL, SHOWN, Candidate, Refused, Store, Trial, new_id

ROOT = Path(studies.store.__file__).parents[1]
TABLES = (
    *("rater", "session", "item", "signal", "summary", "consent"),
    *("schedule", "candidate", "trial", "vote", "undo", "flag", "selection", "remark"),
    *("chunk", "import", "vector", "edit"),
    *("study", "participant", "answer", "event", "pool", "verdict"),
)
SECRET = ("arm", "evidence", "tokens", "seconds", "ask", "schedule", "engine", "summary")


BROKEN = (sqlite3.IntegrityError, psycopg.IntegrityError)


def known(store: Store) -> Store:
    """It knows the sessions "a" and "b" of the rater "me" and "z" of "you"."""
    for session, rater in (("a", "me"), ("b", "me"), ("z", "you")):
        store.open_session(session, rater)
    return store


@pytest.fixture
def store(tmp_path: Path, opened: Callable[[Path], Store]) -> Store:
    """A new store, of either engine."""
    return known(opened(tmp_path))


@pytest.fixture
def filed(tmp_path: Path) -> Store:
    """A new store in a file."""
    return known(Store(tmp_path))


def joke(name: object, maker: Any = "person", text: str = "") -> Item:
    return Item("test", str(name), "joke", text or f"Joke {name} is about ducks.", maker=maker)


def like(item: Item, sign: int = 1, **changes: Any) -> tuple[Item, Signal]:
    return item, Signal(item.id, sign, **changes)


def written(arm: str = "plain-000000", **changes: Any) -> Candidate:
    return Candidate(**{"id": new_id(), "arm": arm, "text": f"{arm} wrote {new_id()}."} | changes)


def pair(store: Store, **changes: Any) -> str:
    """Write a pair and return its id."""
    facts: dict[str, Any] = {"id": new_id(), "rater": "me", "kind": "pair", "left": written(), "right": written("b-1")}
    trial = Trial(**facts | {"ask": Ask(), "profile_digest": "d", "engine": "e"} | changes)
    store.write(trial, 0, ["b-1", "plain-000000"])
    return trial.id


def card(store: Store, item: Item | None = None, **changes: Any) -> str:
    """Write a card, of an item or of a text that the model wrote, and return its id."""
    left = written(SHOWN, id=f"{SHOWN}/{item.id}", text=item.text, item_id=item.id) if item else written()
    return pair(store, **{"kind": "card", "left": left, "right": None} | changes)


def shown(store: Store, trial: str, session: str = "a") -> str:
    assert store.show(trial, session), "the test's own trial could not be shown"
    return trial


def voted(store: Store, trial: str, choice: str, session: str = "a") -> str:
    store.vote(session, shown(store, trial, session), choice)
    return trial


def dump(store: Store) -> dict[str, list[dict[str, Any]]]:
    return {table: store.db.rows(f"select * from {table}") for table in TABLES}


def signs(store: Store, rater: str = "me") -> list[tuple[str, int]]:
    return [(item.source_id, signal.sign) for item, signal in store.reactions(rater)]


def at_once(jobs: list[Callable[[], Any]]) -> list[Any]:
    """Run each job in a thread of its own, all released together; an exception stands for its result."""
    barrier = threading.Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return job()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


# ---- imports


def test_importing_twice_changes_nothing(store: Store) -> None:
    feed = [like(joke(1)), like(joke(2), -1, strength=0.5, note="flat"), (joke(3), None)]
    assert store.add("me", feed) == 3
    before = dump(store)
    assert [len(before[table]) for table in ("item", "signal")] == [3, 2]
    assert store.add("me", iter(feed)) == 3
    assert dump(store) == before


def test_what_was_imported_comes_back_as_it_was(store: Store) -> None:
    at = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)
    item = Item(
        "test", "1", "post", "Zwei\nZeilen \u2026 \U0001f986", "ducks", "hash", "person", at, "https://x.test/1"
    )
    shown_about_it = Signal(item.id, 0, 0.25, at, "import:table", "because of the duck")
    store.add("me", [(item, shown_about_it)])
    assert store.reactions("me") == ((item, shown_about_it),)
    assert store.items([item.id, "test:unknown"]) == {item.id: item}


def test_a_new_rating_replaces_the_old_one_of_the_same_source_and_person_only(store: Store) -> None:
    item = joke(1)
    at = datetime(2025, 1, 1, tzinfo=UTC)
    store.add("me", [like(item, 1, origin="table", note="old")])
    store.add("you", [like(item, 1, origin="table")])
    store.add("me", [like(item, -1, origin="export", at=at)])
    store.add("me", [like(item, -1, strength=0.25, origin="table", note="new", at=at)])
    kept = {(row["rater"], row["origin"]): row for row in store.db.rows("select * from signal")}
    assert kept.keys() == {("me", "table"), ("me", "export"), ("you", "table")}
    changed = kept["me", "table"]
    assert (changed["sign"], changed["strength"], changed["note"], changed["at"]) == (-1, 0.25, "new", at.isoformat())
    assert kept["you", "table"]["sign"] == 1
    assert signs(store, "you") == [("1", 1)]


def test_an_error_in_the_middle_of_an_import_stores_nothing(store: Store) -> None:
    store.add("me", [like(joke(0))])
    before = dump(store)

    def breaks() -> Iterator[tuple[Item, Signal | None]]:
        yield like(joke(0), -1)
        yield like(joke(1))
        raise CollectError("line 3 is damaged")

    with pytest.raises(CollectError, match="line 3"):
        store.add("somebody new", breaks())
    with pytest.raises(BROKEN):
        store.add("me", [like(joke(0), -1), like(joke(1), 7)])  # 7 is no sign
    assert dump(store) == before
    assert store.add("me", [like(joke(1))]) == 1  # and no transaction was left open


def test_a_person_has_two_thousand_items_and_more(store: Store) -> None:
    store.add("me", [like(joke(n)) for n in range(2_100)])  # more than one batch of names in one statement
    assert len(store.reactions("me")) == 2_100


# ---- sessions


def test_a_session_never_changes_hands(store: Store) -> None:
    store.open_session("a", "you")
    assert store.rater("a") == "me"
    with pytest.raises(Refused, match="reload the page"):
        store.rater("never opened")


# ---- trials


def test_a_trial_is_in_the_table_before_it_is_shown(store: Store) -> None:
    ask = Ask(payload="cats", seed=2**47 + 1)
    likes = ("test:1", "test:2")
    left = written(evidence=likes, tokens=31, seconds=1.5, finish="budget")
    waiting = pair(store, left=left, ask=ask, schedule="s", position=4, attempt=2, profile_digest="p", engine="m")
    (row,) = store.db.rows("select * from trial")
    told = [row[name] for name in ("id", "kind", "role", "schedule", "position", "attempt", "profile_digest", "engine")]
    assert told == [waiting, "pair", "judge", "s", 4, 2, "p", "m"]
    assert (row["session"], row["shown_at"], row["void_reason"]) == (None, None, None)
    assert Ask(**json.loads(row["ask"])) == ask
    (kept,) = store.db.rows("select * from candidate where id = :id", id=left.id)
    assert (kept["text"], kept["tokens"], kept["seconds"], kept["finish"]) == (left.text, 31, 1.5, "budget")
    assert json.loads(kept["evidence"]) == list(likes)
    (order,) = store.db.rows("select * from schedule")
    assert (order["id"], order["seed"], json.loads(order["arms"])) == ("s", 0, ["b-1", "plain-000000"])
    assert store.open_trial("a", "pair") is None


def test_a_trial_that_cannot_be_written_whole_is_not_written(store: Store) -> None:
    with pytest.raises(BROKEN):
        pair(store, rater="unknown", schedule="s")
    assert {table: rows for table, rows in dump(store).items() if rows and table not in ("rater", "session")} == {}


def test_a_trial_belongs_to_the_first_session_that_asks(store: Store) -> None:
    waiting = pair(store)
    row = store.show(waiting, "b")
    assert row is not None
    assert row["id"] == waiting
    assert store.show(waiting, "a") is None
    assert store.show(waiting, "b") is None
    assert store.open_trial("a", "pair") is None
    assert store.open_trial("b", "card") is None
    assert store.open_trial("b", "pair") == row
    assert store.ready("me", "pair") == []


def test_of_eight_threads_that_ask_for_a_trial_one_gets_it(store: Store) -> None:
    sessions = [f"tab {n}" for n in range(8)]
    for session in sessions:
        store.open_session(session, "me")
    for _ in range(20):
        waiting = pair(store)
        got = at_once([partial(store.show, waiting, session) for session in sessions])
        winners = [session for session, row in zip(sessions, got, strict=True) if row]
        assert [row["id"] for row in got if row] == [waiting]
        assert store.db.rows("select session from trial where id = :id", id=waiting) == [{"session": winners[0]}]


def test_a_trial_of_somebody_else_a_void_or_an_unknown_one_is_not_shown(store: Store) -> None:
    theirs, void = pair(store), pair(store, void_reason="empty")
    assert store.show(theirs, "z") is None
    assert store.show(theirs, "never opened") is None
    assert store.show(void, "a") is None
    assert store.show("no such trial", "a") is None
    assert store.db.rows("select id from trial where shown_at is not null or session is not null") == []
    assert [row["id"] for row in store.ready("me", "pair")] == [theirs]
    assert store.ready("you", "pair") == []


def test_what_is_seen_before_the_vote_names_no_arm(store: Store) -> None:
    row = store.show(pair(store), "a")
    assert row is not None
    assert row.keys().isdisjoint(SECRET)
    assert not [name for name in row if any(secret in name for secret in SECRET)]
    human = pair(store, left=_human(store, joke(1)))
    assert "community" in (seen := store.show(human, "b") or {})
    assert (seen["community"], seen["source"]) == (None, None)  # they would tell that a person wrote it


def test_the_open_trial_survives_a_reload_and_a_restart(
    store: Store, tmp_path: Path, opened: Callable[[Path], Store]
) -> None:
    pair(store)
    first = shown(store, pair(store))
    seen = store.open_trial("a", "pair")
    assert seen is not None
    assert seen["id"] == first
    again = opened(tmp_path)
    assert again.open_trial("a", "pair") == seen
    again.open_session("a", "me")
    assert again.vote("a", first, "left")["left_text"] == seen["left_text"]
    assert again.open_trial("a", "pair") is None


def test_void_takes_out_only_what_nobody_has_seen(store: Store) -> None:
    waiting, seen = pair(store), shown(store, pair(store))
    store.void(waiting, "superseded")
    store.void(seen, "superseded")
    reasons = {row["id"]: row["void_reason"] for row in store.db.rows("select id, void_reason from trial")}
    assert reasons == {waiting: "superseded", seen: None}
    assert store.ready("me", "pair") == []


def test_ready_counts_kinds_apart_and_the_oldest_comes_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(f"2026-01-01T00:00:{n:02}" for n in range(60))
    monkeypatch.setattr(studies.store, "now", lambda: next(clock))
    ids = [pair(store, schedule="s", position=n) for n in range(5)]
    cards = [card(store), card(store)]
    assert [row["id"] for row in store.ready("me", "pair")] == ids
    assert [row["id"] for row in store.ready("me", "card")] == cards


def test_filled_tells_attempts_and_successes_of_each_position(store: Store) -> None:
    for position, reason in ((1, None), (0, "empty"), (0, "superseded"), (2, "empty"), (2, None)):
        pair(store, schedule="s", position=position, void_reason=reason)
    pair(store, schedule="another", position=9)
    pair(store, rater="you", schedule="s", position=9)
    assert store.filled("me", "s") == [
        {"position": 0, "attempts": 2, "good": 0, "superseded": 1},
        {"position": 1, "attempts": 1, "good": 1, "superseded": 0},
        {"position": 2, "attempts": 2, "good": 1, "superseded": 0},
    ]


def test_cards_shown_are_counted_for_each_person(store: Store) -> None:
    shown(store, card(store, joke_in(store, 1)))
    voted(store, card(store, joke_in(store, 2)), "skip")
    card(store, joke_in(store, 3))
    shown(store, pair(store))
    assert (store.cards_shown("me"), store.cards_shown("you")) == (2, 0)


def joke_in(store: Store, name: object, maker: str = "project", rater: str = "me") -> Item:
    item = joke(name, maker)
    store.add(rater, [(item, None)])
    return item


@pytest.mark.parametrize(
    ("kind", "role", "right"),
    [("pair", "teach", True), ("card", "judge", False), ("pair", "judge", False), ("card", "teach", True)],
)
def test_the_schema_keeps_judging_and_teaching_apart(store: Store, kind: str, role: str, right: bool) -> None:
    pair(store)
    one, other = (row["id"] for row in store.db.rows("select id from candidate"))

    def insert(kind: str, role: str, right: bool) -> None:
        store.db.run(
            """insert into trial
            (id, rater, kind, role, left_id, right_id, attempt, ask, profile_digest, engine, made_at)
            values ('t', 'me', :kind, :role, :one, :other, 0, '{}', '', '', '')""",
            kind=kind,
            role=role,
            one=one,
            other=other if right else None,
        )

    with pytest.raises(BROKEN, match=r"(?i)check"):
        insert(kind, role, right)
    proper = {"pair": ("judge", True), "card": ("teach", False)}[kind]
    insert(kind, *proper)  # nothing else was wrong with that row
    assert store.db.rows("select role from trial where id = 't'") == [{"role": proper[0]}]


# ---- votes


def test_eight_threads_that_vote_at_once_store_each_vote_once(store: Store) -> None:
    trials = [shown(store, pair(store)) for _ in range(50)]

    def vote_all(seed: int) -> list[str]:
        acknowledged = []
        for trial in random.Random(seed).sample(trials, len(trials)):
            try:
                acknowledged.append(store.vote("a", trial, "left", [("left", "sounds_ai")])["id"])
            except Refused as refused:
                assert "already" in str(refused)  # noqa: PT017 - the thread goes on
        return acknowledged

    heard = at_once([partial(vote_all, seed) for seed in range(8)])
    assert Counter(trial for got in heard for trial in got) == Counter(trials)
    assert Counter(row["trial_id"] for row in store.db.rows("select trial_id from vote")) == Counter(trials)
    assert len(store.db.rows("select * from flag")) == 50
    assert len(store.ballots()) == 50


def refusals(store: Store) -> dict[str, tuple[str, str, str, list[tuple[str, str]]]]:
    """What must not be stored: session, trial, choice, flags."""
    void = pair(store, void_reason="near-duplicates")
    seen_void = pair(store, void_reason="near-duplicates")
    store.db.run("update trial set session = 'a', shown_at = 'now' where id = :id", id=seen_void)
    mine, a_card = shown(store, pair(store)), shown(store, card(store, joke_in(store, 1)))
    done = voted(store, pair(store), "both")
    mark = [("right", "sounds_ai")]
    return {
        "another session's, of the same person": ("b", mine, "left", mark),
        "another person's": ("z", mine, "left", mark),
        "an unknown session": ("nobody", mine, "left", mark),
        "an unknown trial": ("a", "no such trial", "left", mark),
        "not shown yet": ("a", pair(store), "left", mark),
        "void": ("a", void, "left", mark),
        "void though it was shown": ("a", seen_void, "left", mark),
        "voted on already": ("a", done, "left", mark),
        "a card's choice for a pair": ("a", mine, "like", mark),
        "a pair's choice for a card": ("a", a_card, "left", mark),
        "no choice at all": ("a", mine, "", mark),
        "an unknown choice": ("a", mine, "Left", mark),
        "an unknown mark": ("a", mine, "left", [*mark, ("left", "funny")]),
        "a mark on an unknown side": ("a", mine, "left", [*mark, ("both", "sounds_ai")]),
    }


def test_a_forged_vote_is_refused_in_words_and_stores_nothing(store: Store) -> None:
    store.vote("a", shown(store, pair(store)), "left", [("left", "offensive")])
    for case, (session, trial, choice, flags) in refusals(store).items():
        before = dump(store)
        with pytest.raises(Refused) as refused:
            store.vote(session, trial, choice, flags)
        assert str(refused.value), case
        assert dump(store) == before, case


def test_a_refusal_says_why(store: Store) -> None:
    said = {}
    for case, (session, trial, choice, flags) in refusals(store).items():
        with pytest.raises(Refused) as refused:
            store.vote(session, trial, choice, flags)
        said[case] = str(refused.value)
    assert "not shown to you" in said["another person's"]
    assert "not shown to you" in said["not shown yet"]
    assert "already" in said["voted on already"]
    assert "left, right, both, neither, skip" in said["a card's choice for a pair"]
    assert "like, dislike, skip" in said["a pair's choice for a card"]
    assert "sounds_ai" in said["an unknown mark"]


@pytest.mark.parametrize("choice", CHOICES["pair"])
def test_every_choice_of_a_pair_is_stored_with_its_marks_once(store: Store, choice: str) -> None:
    trial = shown(store, pair(store))
    marks = [("left", "sounds_ai"), ("right", "offensive"), ("left", "sounds_ai"), ("left", "offensive")]
    row = store.vote("a", trial, choice, marks)
    assert (row["left_arm"], row["right_arm"]) == ("plain-000000", "b-1")
    assert store.db.rows("select trial_id, choice from vote") == [{"trial_id": trial, "choice": choice}]
    kept = {(flag["trial_id"], flag["side"], flag["kind"]) for flag in store.db.rows("select * from flag")}
    assert kept == {(trial, *mark) for mark in marks}
    (ballot,) = store.ballots()
    assert (ballot.rater, ballot.left, ballot.right, ballot.choice) == ("me", "plain-000000", "b-1", choice)
    assert ballot.sounds_ai == {"left"}  # offensive is another thing
    with pytest.raises(Refused):
        store.vote("a", trial, choice, [("right", "sounds_ai")])
    assert len(store.db.rows("select * from flag")) == 3


def test_a_mark_that_cannot_be_stored_leaves_no_vote(store: Store) -> None:
    trial = shown(store, pair(store))
    store.db.run("create unique index once on flag (kind)")
    with pytest.raises(BROKEN):
        store.vote("a", trial, "left", [("left", "sounds_ai"), ("right", "sounds_ai")])
    assert (store.db.rows("select * from vote"), store.db.rows("select * from flag")) == ([], [])
    assert store.open_trial("a", "pair") is not None
    store.db.run("drop index once")
    store.vote("a", trial, "left", [("right", "sounds_ai")])
    assert len(store.db.rows("select * from vote")) == 1


# ---- undo


def test_undo_is_an_event_and_the_vote_stays(store: Store) -> None:
    trial = voted(store, pair(store), "left")
    before = store.db.rows("select * from vote")
    assert store.undo("a", "pair")["id"] == trial
    assert store.db.rows("select * from vote") == before
    assert store.db.rows("select trial_id from undo") == [{"trial_id": trial}]
    assert store.ballots() == []
    assert store.counts("me")["votes"] == 0
    with pytest.raises(Refused, match="nothing to undo"):
        store.undo("a", "pair")
    with pytest.raises(Refused, match="already"):
        store.vote("a", trial, "right")
    assert len(store.db.rows("select * from undo")) == 1
    assert store.open_trial("a", "pair") is None


def test_undo_takes_the_sessions_own_votes_of_that_kind_back_latest_first(store: Store) -> None:
    theirs = voted(store, pair(store), "left", "b")
    first, second = voted(store, pair(store), "left"), voted(store, pair(store), "right")
    liked = voted(store, card(store, joke_in(store, 1)), "like")
    other = voted(store, pair(store), "both", "b")
    with pytest.raises(Refused):
        store.undo("z", "pair")
    assert [store.undo("a", "pair")["id"] for _ in range(2)] == [second, first]
    with pytest.raises(Refused):
        store.undo("a", "pair")
    assert [ballot.choice for ballot in store.ballots()] == ["left", "both"]
    assert store.undo("a", "card")["id"] == liked
    undone = {row["trial_id"] for row in store.db.rows("select trial_id from undo")}
    assert undone.isdisjoint({theirs, other})


def test_the_latest_vote_is_the_one_voted_last_whatever_the_clock_says(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies.store, "now", lambda: "2026-01-01T00:00:00.000+00:00")  # all in one millisecond
    trials = [voted(store, pair(store), "left") for _ in range(6)]
    assert [store.undo("a", "pair")["id"] for _ in trials] == trials[::-1]


def test_one_vote_is_undone_once_even_if_eight_ask_at_once(store: Store) -> None:
    voted(store, pair(store), "left")
    got = at_once([lambda: store.undo("a", "pair")] * 8)
    assert sum(isinstance(one, Refused) for one in got) == 7
    assert len(store.db.rows("select * from undo")) == 1


# ---- taste


def test_reactions_come_imports_first_then_cards_as_they_were_voted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(f"2026-01-01T00:00:{n:02}.000+00:00" for n in range(60))
    monkeypatch.setattr(studies.store, "now", lambda: next(clock))
    late, early = datetime(2027, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)
    store.add("me", [like(joke("late"), at=late), like(joke("early"), -1, at=early), like(joke("undated"))])
    for name, choice in (("z", "like"), ("c", "skip"), ("a", "dislike"), ("m", "like")):
        voted(store, card(store, joke_in(store, name)), choice)
    assert signs(store) == [("undated", 1), ("early", -1), ("late", 1), ("z", 1), ("a", -1), ("m", 1)]
    assert store.counts("me") == {"likes": 4, "dislikes": 2, "votes": 0}
    assert store.reactions("you") == ()


def test_a_card_outranks_an_import_of_the_same_item_and_stands_where_cards_stand(store: Store) -> None:
    item = joke_in(store, "both")
    voted(store, card(store, joke_in(store, "before")), "like")
    voted(store, card(store, item), "dislike")
    store.add("me", [like(item, 1, at=datetime(2020, 1, 1, tzinfo=UTC)), like(joke("only imported"))])
    assert dict(signs(store)) == {"both": -1, "before": 1, "only imported": 1}
    assert signs(store) == [("only imported", 1), ("before", 1), ("both", -1)]  # oldest first


def test_a_vote_on_a_pair_never_teaches(store: Store) -> None:
    item = joke_in(store, 1, "person")
    for choice in CHOICES["pair"]:
        voted(store, pair(store, left=_human(store, item)), choice)
    assert len(store.ballots()) == 5
    assert store.reactions("me") == ()
    assert store.db.rows("select * from signal") == []


def _human(store: Store, item: Item) -> Candidate:
    store.add("me", [(item, None)])
    return Candidate(f"{HUMAN}/{item.id}", HUMAN, item.text, item_id=item.id)


def test_a_card_that_was_taken_back_does_not_teach(store: Store) -> None:
    item = joke_in(store, 1)
    voted(store, card(store, item), "like")
    store.undo("a", "card")
    assert store.reactions("me") == ()
    voted(store, card(store, item), "dislike")
    assert signs(store) == [("1", -1)]


@pytest.mark.parametrize(("choice", "sign"), [("like", 1), ("dislike", -1)])
def test_a_generated_card_that_taught_becomes_an_item_of_a_model(store: Store, choice: str, sign: int) -> None:
    made = written("plain-000000", text="A duck walks into a bar.")
    trial = voted(store, card(store, left=made), choice)
    ((item, shown_about_it),) = store.reactions("me")
    assert (item.maker, item.text, item.source, item.source_id) == ("model", made.text, "palate", made.id)
    assert (shown_about_it.sign, shown_about_it.origin, shown_about_it.item_id) == (sign, "feed", item.id)
    assert store.ballots() == []
    assert _unseen(store, "you") == []
    store.undo("a", "card")
    assert store.reactions("me") == ()
    assert store.db.rows("select count(*) as n from vote where trial_id = :id", id=trial) == [{"n": 1}]


def test_a_generated_card_that_was_skipped_leaves_no_item(store: Store) -> None:
    voted(store, card(store), "skip")
    assert (store.reactions("me"), store.db.rows("select * from item")) == ((), [])


def test_the_newest_summary_counts_and_older_versions_stay(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies.store, "now", lambda: "2026-01-01T00:00:00.000+00:00")  # all in one millisecond
    assert store.latest_summary("me") is None
    for n in range(6):
        store.save_summary("me", f"version {n}", f"digest {n}", n, "engine")
        latest = store.latest_summary("me") or {}
        assert (latest["text"], latest["profile_digest"], latest["reactions"]) == (f"version {n}", f"digest {n}", n)
    store.save_summary("you", "theirs", "", 0, "engine")
    assert (store.latest_summary("me") or {})["text"] == "version 5"
    assert len(store.db.rows("select * from summary")) == 7


def test_a_summary_names_its_author_and_keeps_its_structure(store: Store) -> None:
    store.save_summary("me", "by the model", "digest", 3, "engine")
    local = store.latest_summary("me") or {}
    assert (local["author"], local["taste"]) == (LOCAL, None)
    store.save_summary("me", "by another", "digest", 4, "a-model", "api.example", '{"topics": []}')
    other = store.latest_summary("me") or {}
    assert (other["author"], other["taste"], other["engine"]) == ("api.example", '{"topics": []}', "a-model")


def test_the_latest_word_of_a_person_is_their_consent_and_every_word_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies.store, "now", lambda: "2026-01-01T00:00:00.000+00:00")  # all in one millisecond
    assert store.consent("me") is None
    for given in (True, False, True, True, False, True):
        store.say("me", "api.example", given, "these words")
        yes = store.consent("me")
        assert bool(yes) is given
        assert not yes or (yes["recipient"], yes["told"]) == ("api.example", "these words")
    store.say("you", "api.example", False, "")
    assert store.consent("me")
    store.say("me", "", False, "")
    assert store.consent("me") is None
    assert len(store.db.rows("select * from consent")) == 8


def test_a_folder_of_the_first_version_is_brought_up_to_date_and_loses_nothing(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        migrations.apply(sqlite_utils.Database(connection), stop_before="m002_summary_by_an_api")
        connection.execute("insert into rater values ('me', '')")
        connection.execute("insert into summary values (7, 'id', 'me', 'They like ducks.', 'digest', 3, 'engine', '')")
        connection.commit()
    store = Store(tmp_path)
    old = store.latest_summary("me") or {}
    assert (old["number"], old["text"], old["author"], old["taste"]) == (7, "They like ducks.", LOCAL, None)
    assert store.consent("me") is None


# ---- what has not been seen


def _unseen(store: Store, rater: str = "me", **asked: Any) -> list[str]:
    """Source ids of what nobody showed this person yet, for a pair or for the feed."""
    both = [*store.unseen(rater, "pair", 99, **asked), *store.unseen(rater, "feed", 99, **asked)]
    return [item.source_id for item in both]


def test_unseen_is_neither_rated_nor_shown_to_this_person(store: Store) -> None:
    store.add("me", [like(joke("liked")), like(joke("zero"), 0)])
    items = {name: joke_in(store, name, "person") for name in ("carded", "skipped", "left", "right", "waiting", "new")}
    shown(store, card(store, items["carded"]))
    voted(store, card(store, items["skipped"]), "skip", "b")
    shown(store, pair(store, left=_human(store, items["left"])))
    shown(store, pair(store, right=_human(store, items["right"])))
    pair(store, right=_human(store, items["waiting"]))
    assert _unseen(store) == ["new"]
    assert set(_unseen(store, also_waiting=True)) == {"new", "waiting"}  # nobody has seen what waits to be shown
    everything = {"liked", "zero", *items}
    assert set(_unseen(store, "you")) == everything


def test_a_void_pair_that_nobody_saw_frees_its_human_text(store: Store) -> None:
    waiting = pair(store, left=_human(store, joke("waiting")))
    seen = shown(store, pair(store, right=_human(store, joke("seen"))))
    pair(store, right=_human(store, joke("void from birth")), void_reason="telltale")
    assert _unseen(store) == ["void from birth"]
    store.void(waiting, "superseded")
    store.db.run("update trial set void_reason = 'a hidden tab' where id = :id", id=seen)
    assert set(_unseen(store)) == {"void from birth", "waiting"}


def test_a_human_text_whose_pair_was_taken_back_stays_seen(store: Store) -> None:
    """Its side was named: in another pair the person would know who wrote it."""
    voted(store, pair(store, left=_human(store, joke(1))), "left")
    store.undo("a", "pair")
    assert _unseen(store) == []


def test_a_post_whose_card_was_taken_back_is_no_human_text_of_a_blind_pair(store: Store) -> None:
    """The feed has told where it comes from."""
    voted(store, card(store, joke_in(store, 1, "person")), "like")
    store.undo("a", "card")
    assert _unseen(store) == []


def test_what_the_feed_shows_is_never_what_pairs_are_measured_against(
    store: Store, opened: Callable[[Path], Store]
) -> None:
    """Each imported post is for one of the two, by its id alone; the sample is for the feed; nothing of a model is."""
    for n in range(40):
        joke_in(store, f"{n:02} person", "person")
        joke_in(store, f"{n:02} project", "project")
        joke_in(store, f"{n:02} model", "model")
    feed, pairs = store.unseen("me", "feed", limit=999), store.unseen("me", "pair", limit=999)
    people = [item for item in feed if item.maker == "person"]
    assert {item.maker for item in pairs} == {"person"}
    assert {item.maker for item in feed} == {"person", "project"}
    assert len(people) + len(pairs) == 40
    assert len({*people, *pairs}) == 40
    assert 10 < len(people) < 30
    assert len(feed) - len(people) == 40
    makers = [item.maker for item in feed[:20]]
    assert 2 < makers.count("person") < 18  # mixed
    assert store.unseen("me", "feed", limit=7) == feed[:7]
    ids = [item.source_id for item in feed]
    assert ids != sorted(ids)  # not in the order of the file
    assert feed == opened(store.db.folder).unseen("me", "feed", limit=999)


def test_unseen_leaves_longer_texts_out(store: Store) -> None:
    store.add("me", [(joke(n, text="x" * n), None) for n in (10, 11, 12)])
    assert set(_unseen(store, longest=11)) == {"10", "11"}


# ---- trouble with the disk


def test_a_full_disk_is_told_in_words_and_loses_nothing(filed: Store, tmp_path: Path) -> None:
    kept = [voted(filed, pair(filed), "left") for _ in range(3)]
    filed.db.run(f"pragma max_page_count = {filed.db.rows('pragma page_count')[0]['page_count']}")

    def go_on() -> None:
        for _ in range(200):
            voted(filed, pair(filed), "right")

    with pytest.raises(StoreError, match=r"disk .* is full.*free some space") as told:
        go_on()
    assert str(tmp_path) in str(told.value)
    with pytest.raises(StoreError, match="full"):
        filed.add("me", [like(joke(n, text="x" * 4_000)) for n in range(50)])
    again = Store(tmp_path)
    votes = {row["trial_id"]: row["choice"] for row in again.db.rows("select * from vote")}
    assert {trial: votes[trial] for trial in kept} == dict.fromkeys(kept, "left")
    assert again.db.rows("select * from item") == []
    assert again.db.rows("pragma integrity_check") == [{"integrity_check": "ok"}]
    filed.db.run("pragma max_page_count = 1000000")
    filed.vote("a", shown(filed, pair(filed)), "both")  # with space again it goes on


def test_a_database_in_use_or_not_writable_is_told_in_words(filed: Store, tmp_path: Path) -> None:
    trial = shown(filed, pair(filed))
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("begin immediate")
    filed.db.run("pragma busy_timeout = 50")
    with pytest.raises(StoreError, match="in use by another program"):
        filed.vote("a", trial, "left")
    other.execute("rollback")
    other.close()
    filed.db.run("pragma query_only = on")
    with pytest.raises(StoreError, match=r"cannot be written.*--data-dir"):
        filed.vote("a", trial, "left")
    filed.db.run("pragma query_only = off")
    assert filed.vote("a", trial, "left")["id"] == trial


@pytest.mark.parametrize("content", [b"this is no database, " * 400, b"SQLite format 3\0" + b"\xff" * 8_000])
def test_a_file_that_is_no_database_is_told_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StoreError, match=r"is damaged.*restore a copy or move it away"):
        Store(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content


def test_a_folder_that_cannot_be_made_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="choose a writable --data-dir") as told:
            Store(folder)
        assert str(folder) in str(told.value)
    Store(tmp_path / "not" / "yet" / "there")
    assert (tmp_path / "not" / "yet" / "there" / FILE).exists()


def test_every_thread_has_foreign_keys_a_log_ahead_and_full_synchronisation(filed: Store) -> None:
    def asked() -> tuple[Any, ...]:
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            filed.db.run("insert into vote (trial_id, choice, at) values ('no such trial', 'left', '')")
        names = ("foreign_keys", "journal_mode", "synchronous")
        return tuple(filed.db.rows(f"pragma {name}")[0][name] for name in names)

    assert at_once([asked] * 4) == [(1, "wal", 2)] * 4


def test_threads_that_came_and_went_leave_few_connections(filed: Store) -> None:
    def transaction() -> None:
        with filed.db.atomic():
            filed.db.rows("select 1 as one")

    for _ in range(10):
        at_once([transaction, lambda: filed.db.rows("select * from vote")] * 2)
    assert 1 <= len(filed.db._free) <= 4
    for row in filed.db.each("select 1 as one"):  # has a connection of its own: a write meanwhile is no part of it
        transaction()
        assert row == {"one": 1}
    assert len(filed.db._free) <= 5


# ---- migrations


def test_migrations_apply_once_and_make_every_table(filed: Store, tmp_path: Path) -> None:
    def schema() -> list[dict[str, Any]]:
        applied = filed.db.rows("select name, applied_at from _sqlite_migrations")
        return filed.db.rows("select name, sql from sqlite_master order by name") + applied

    pair(filed)
    before = schema(), dump(filed)
    with filed.db.connected() as db:
        migrations.apply(db)
    Store(tmp_path)
    assert (schema(), dump(filed)) == before
    assert set(db.table_names()) == {*TABLES, "_sqlite_migrations"}


def test_a_folder_from_before_studies_keeps_every_trial_and_vote(tmp_path: Path) -> None:
    """Their tables are written anew, because a check cannot be changed in place."""
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        migrations.apply(sqlite_utils.Database(connection), stop_before="m006_studies")
        connection.executescript("""
            insert into rater values ('me', '');
            insert into session values ('a', 'me', '');
            insert into candidate values ('l', 'one', null, 'Left.', '[]', 1, 0.5, 'stop', '', ''),
                ('r', 'two', null, 'Right.', '[]', 1, 0.5, 'stop', '', '');
            insert into trial values ('t', 'me', 'pair', 'judge', 'l', 'r', null, 3, 0, '{}', 'd', null, 'e', null, '',
                'a', '2026-01-01');
            insert into vote values (7, 't', 'left', '2026-01-02');
            insert into undo values ('t', '2026-01-03');
            insert into flag values ('t', 'left', 'sounds_ai', '2026-01-02');
        """)
    store = Store(tmp_path)
    [trial] = store.db.rows("select * from trial")
    assert (trial["id"], trial["position"], trial["shown_at"], trial["purpose"]) == ("t", 3, "2026-01-01", "main")
    assert (trial["study"], trial["repeats"]) == (None, None)
    assert store.db.rows("select number, choice, viewed_ms, hidden from vote") == [
        {"number": 7, "choice": "left", "viewed_ms": None, "hidden": 0}
    ]
    assert [len(store.db.rows(f"select * from {table}")) for table in ("undo", "flag")] == [1, 1]
    assert store.db.rows("pragma foreign_keys") == [{"foreign_keys": 1}]
    with pytest.raises(sqlite3.IntegrityError):
        store.db.run("delete from trial")  # the vote still refers to it
    store.db.run("delete from _sqlite_migrations where name = 'm006_studies'")
    assert Store(tmp_path).db.rows("select count(*) as n from vote") == [{"n": 1}]  # stopped before that was noted


def test_only_cards_outside_of_studies_teach(store: Store) -> None:
    store.db.run("insert into study values ('s', 'A study', '{}', '')")
    trial = card(store)
    for change in ("study = 's'", "role = 'judge'", "kind = 'mark'"):
        with pytest.raises(BROKEN):
            store.db.run(f"update trial set {change} where id = :id", id=trial)
    store.db.run("update trial set study = 's', role = 'judge', position = 0 where id = :id", id=trial)


def test_two_starts_on_a_new_folder_meet_without_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second start comes in between the first one's question what is missing and its answer, or has to wait."""
    (first, *rest), others = migrations._migrations, ThreadPoolExecutor(1)
    second: list[Future[Store]] = []

    def slowly(db: Any) -> None:
        if not second:
            second.append(others.submit(Store, tmp_path))
            wait(second, timeout=2)
        first.fn(db)

    monkeypatch.setattr(migrations, "_migrations", [replace(first, fn=slowly), *rest])
    for start in (partial(Store, tmp_path), lambda: second[0].result(60)):
        try:
            start()
        except StoreError as told:  # to be told is well; to see an sqlite3 error would not be
            assert "try again" in str(told)  # noqa: PT017
    others.shutdown()
    assert Store(tmp_path).add("me", [(joke(1), None)]) == 1


# ---- kill -9

VOTERS = """
import os, sys, time
from pathlib import Path
from studies.store import Store
for trial in sys.stdin:
    if os.fork() == 0:
        Store(Path(sys.argv[1])).vote("a", trial.strip(), "left", [("right", "sounds_ai")])
        print(os.getpid(), flush=True)
        time.sleep(60)
    os.wait()
    print("ended", flush=True)
"""


def test_a_vote_that_was_acknowledged_survives_kill_9(filed: Store, tmp_path: Path) -> None:
    trials = [shown(filed, pair(filed)) for _ in range(5)]
    command = [sys.executable, "-c", VOTERS, str(tmp_path)]  # imports once, then one process for each vote
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as voters:
        assert voters.stdin
        assert voters.stdout
        for count, trial in enumerate(trials, start=1):
            print(trial, file=voters.stdin, flush=True)
            acknowledged = voters.stdout.readline().strip()  # said the moment that vote() returned
            assert acknowledged.isdigit(), "the vote was not acknowledged"
            os.kill(int(acknowledged), signal.SIGKILL)
            assert voters.stdout.readline() == "ended\n"
            again = Store(tmp_path)
            votes = {row["trial_id"]: row["choice"] for row in again.db.rows("select * from vote")}
            assert votes == dict.fromkeys(trials[:count], "left")
            assert len(again.db.rows("select * from flag")) == count
    assert filed.db.rows("pragma integrity_check") == [{"integrity_check": "ok"}]
