"""What is read of a study: what counts, what does not and why. A real store with a small study in it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.methods.base import Ask
from studies.ratings import Ballot
from studies.records import Catch, Side, pick, records
from studies.schedule import HUMAN, SALAD
from studies.store import Candidate, Refused, Store, Trial, new_id, now

STUDY = "study-1"
ARMS = ("none-000000", "history-111111", HUMAN)
SETTINGS = {
    "title": "A taste test",
    "people": "/home/somebody/people.jsonl",
    "codes": {"completed": "CODE-FOR-PAY"},
    "url": "https://example.org/complete?cc={code}",
    "design": {"seed": 41, "arms": list(ARMS), "blocks": 1},
    "design_id": "d5d5d5d5",
}
Opened = Callable[[Path], Store]
RATERS = ("p-aaaaaaaaaaaaaaaa", "p-bbbbbbbbbbbbbbbb", "p-cccccccccccccccc")
KINDS = ("pair", "card", "mark")


def open_study(store: Store, study: str = STUDY, title: str = "A taste test", settings: Any = None) -> None:
    store.db.run(
        "insert into study values (:id, :title, :settings, :at)",
        id=study,
        title=title,
        settings=json.dumps(SETTINGS if settings is None else settings),
        at=now(),
    )


def join(store: Store, rater: str, slot: int, study: str = STUDY) -> None:
    """A participant with one session, whose name is the rater's and "-session"."""
    store.open_session(f"{rater}-session", rater)
    store.db.run(
        """insert into participant (rater, study, slot, platform_person, platform_session, resume_code, joined_at)
        values (:rater, :study, :slot, :person, :submission, :code, :at)""",
        rater=rater,
        study=study,
        slot=slot,
        person=f"PERSON-{rater}",
        submission=f"SUBMISSION-{rater}",
        code=f"resume{slot}x",
        at=f"2026-11-25T09:0{slot}:00.000+00:00",
    )


def text(arm: str, said: str = "") -> Candidate:
    post = {"item_id": None, "tokens": 0} if arm in (HUMAN, SALAD) else {"tokens": 12}
    return Candidate(new_id(), arm, said or f"{arm} wrote {new_id()}.", evidence=("reddit/t3_secret",), **post)


def judge(
    store: Store,
    rater: str,
    left: str | Candidate,
    right: str | Candidate | None = None,
    choice: str = "",
    flags: Sequence[tuple[str, str]] = (),
    *,
    kind: Any = "pair",
    study: str | None = STUDY,
    void_after: str = "",
    **changes: Any,
) -> str:
    """Write a trial of arms or texts, show it and vote if there is a choice; returns its id."""
    sides = [text(side) if isinstance(side, str) else side for side in (left, right) if side]
    trial = Trial(
        id=new_id(),
        rater=rater,
        kind=kind,
        left=sides[0],
        right=sides[1] if len(sides) > 1 else None,
        ask=Ask(payload="pigeons", seed=7),
        profile_digest="digest-of-likes",
        engine="e1",
        study=study,
        **changes,
    )
    store.write(trial, 0, ARMS)
    if choice:
        session = f"{rater}-session"
        assert store.show(trial.id, session)
        store.vote(session, trial.id, choice, flags, kinds=KINDS, viewed_ms=4200)
    if void_after:
        store.db.run("update trial set void_reason = :why where id = :id", why=void_after, id=trial.id)
    return trial.id


def small_study(folder: Path, at: Callable[[Path], Store] = Store, **opened: Any) -> Store:
    """Three raters; counted: 6 pairs, 2 repeats, 2 marks, 1 repeat of a mark, 5 catch trials of which 3 are passed."""
    store = at(folder)
    open_study(store, **opened)
    for slot, rater in enumerate(RATERS):
        join(store, rater, slot)
    a, b, c = RATERS
    judge(store, a, "sample", "sample", "left", purpose="practice", position=-1)
    first = judge(store, a, *ARMS[:2], "right", [("left", "sounds_ai")], position=0)
    judge(store, a, *ARMS[1:], "left", position=1)
    judge(store, a, ARMS[1], ARMS[0], "left", position=2, purpose="repeat", repeats=first)
    same = text(ARMS[0])
    judge(store, a, same, same, "both", position=3, purpose="same")
    judge(store, a, HUMAN, SALAD, "left", position=4, purpose="salad")
    again = judge(store, b, *ARMS[:2], "right", position=0)
    judge(store, b, HUMAN, ARMS[0], "both", position=1)
    judge(store, b, ARMS[1], ARMS[0], "right", position=2, purpose="repeat", repeats=again)
    judge(store, b, same, same, "left", position=3, purpose="same")
    judge(store, b, HUMAN, SALAD, "both", position=4, purpose="salad")
    judge(store, c, ARMS[0], ARMS[1], "skip", position=0)
    judge(store, c, ARMS[2], ARMS[1], "neither", [("right", "offensive")], position=1)
    judge(store, c, *ARMS[:2], "right", position=2, void_after="too fast")
    judge(store, c, *ARMS[:2], position=3, void_reason="empty")
    judge(store, c, *ARMS[:2], position=3, attempt=1, void_reason="empty")
    judge(store, c, *ARMS[:2], "left", position=4)
    store.undo(f"{c}-session", "pair")
    mark = judge(store, c, ARMS[0], None, "funny", [("left", "sounds_ai")], kind="mark", position=5)
    judge(store, c, ARMS[1], None, "not_funny", kind="mark", position=6)
    judge(store, c, ARMS[0], None, "not_funny", kind="mark", position=7, purpose="repeat", repeats=mark)
    judge(store, c, SALAD, None, "not_funny", kind="mark", position=8, purpose="salad")
    for kind, who, told in (("replaced", c, {"reason": "empty"}), ("replaced", c, {}), ("resumed", a, {})):
        store.db.run(
            "insert into event (study, rater, kind, told, at) values (:study, :who, :kind, :told, :at)",
            study=STUDY,
            who=who,
            kind=kind,
            told=json.dumps(told),
            at=now(),
        )
    store.db.run(
        "insert into answer values (:who, 'age', :value, :at)", who=a, value="41, write to @mallory_x", at=now()
    )
    store.db.run("update participant set ended_at = :at, completion = 'completed' where rater = :who", at=now(), who=a)
    store.db.run("update participant set left_at = :at where rater = :who", at=now(), who=b)
    return store


def test_what_counts(tmp_path: Path, opened: Opened) -> None:
    found = records(small_study(tmp_path, opened), STUDY)
    a, b, c = RATERS
    assert [(ballot.rater, ballot.left, ballot.right, ballot.choice) for ballot in found.ballots] == [
        (a, ARMS[0], ARMS[1], "right"),
        (a, ARMS[1], HUMAN, "left"),
        (b, ARMS[0], ARMS[1], "right"),
        (b, HUMAN, ARMS[0], "both"),
        (c, ARMS[0], ARMS[1], "skip"),
        (c, HUMAN, ARMS[1], "neither"),
    ]
    assert found.ballots[0].sounds_ai == {"left"}
    assert found.ballots[-1].sounds_ai == frozenset(), "offensive is another mark"
    assert all(ballot.left_text.startswith(f"{ballot.left} wrote ") for ballot in found.ballots)
    assert all(ballot.right_text.startswith(f"{ballot.right} wrote ") for ballot in found.ballots)
    assert [ballot.repeats for ballot in found.repeats] == [found.ballots[0].trial, found.ballots[2].trial]
    assert [(mark.arm, mark.choice, mark.sounds_ai) for mark in found.marks] == [
        (ARMS[0], "funny", True),
        (ARMS[1], "not_funny", False),
    ]
    assert [mark.repeats for mark in found.mark_repeats] == [found.marks[0].trial]


def test_who_came_and_what_happened(tmp_path: Path, opened: Opened) -> None:
    found = records(small_study(tmp_path, opened), STUDY)
    assert found.study
    assert (found.study.title, found.study.settings["design"]["seed"]) == ("A taste test", 41)
    assert [(rater.id, rater.votes) for rater in found.raters] == [(RATERS[0], 5), (RATERS[1], 5), (RATERS[2], 6)]
    assert [bool(rater.ended) for rater in found.raters] == [True, False, False]
    assert [bool(rater.left) for rater in found.raters] == [False, True, False]
    assert found.voids == {"empty": 2, "too fast": 1}
    assert (found.trials, found.undone) == (20, 1)
    assert found.event_counts == {"replaced": 2, "resumed": 1}
    assert [event.rater for event in found.events] == [RATERS[2], RATERS[2], RATERS[0]]


@pytest.mark.parametrize(
    ("purpose", "sides", "kind", "passing"),
    [
        ("same", (ARMS[0], ARMS[0]), "pair", {"both", "neither", "skip"}),
        ("salad", (HUMAN, SALAD), "pair", {"left", "neither", "skip"}),
        ("salad", (SALAD, HUMAN), "pair", {"right", "neither", "skip"}),
        ("salad", (SALAD, None), "card", {"dislike", "skip"}),
        ("salad", (SALAD, None), "mark", {"not_funny", "1", "2", "3", "skip"}),
    ],
)
def test_catch_trials(
    tmp_path: Path,
    opened: Opened,
    purpose: str,
    sides: tuple[str, str | None],
    kind: str,
    passing: set[str],
) -> None:
    store = opened(tmp_path)
    open_study(store)
    join(store, RATERS[0], 0)
    choices = {
        "pair": ("left", "right", "both", "neither", "skip"),
        "card": ("like", "dislike", "skip"),
        "mark": ("funny", "not_funny", "1", "2", "3", "4", "5", "skip"),
    }[kind]
    for position, choice in enumerate(choices):
        judge(store, RATERS[0], *sides, choice, kind=kind, purpose=purpose, position=position)
    found = records(store, STUDY)
    assert {catch.choice for catch in found.catches if catch.passed} == passing
    assert {(catch.purpose, catch.kind) for catch in found.catches} == {(purpose, kind)}
    assert (found.ballots, found.marks, found.repeats) == ((), (), ())


def test_play_and_studies_stay_apart(tmp_path: Path, opened: Opened) -> None:
    store = small_study(tmp_path, opened)
    store.open_session("me-session", "me")
    judge(store, "me", *ARMS[:2], "left", study=None)
    judge(store, "me", text("item", "a card of the feed"), None, "like", kind="card", study=None)
    play, study = records(store, None), records(store, STUDY)
    assert [(ballot.rater, ballot.choice) for ballot in play.ballots] == [("me", "left")]
    assert play.ballots == tuple(
        Ballot("me", b.left, b.right, "left", frozenset(), b.trial, b.left_text, b.right_text) for b in play.ballots
    )
    assert (play.study, play.marks, play.events, play.others) == (None, (), (), (STUDY,)), "cards of the feed teach"
    assert [(rater.id, rater.votes) for rater in play.raters] == [("me", 1)]
    assert "me" not in {ballot.rater for ballot in study.ballots}
    assert len(study.ballots) == 6


def test_an_empty_folder_and_a_study_that_is_not_there(tmp_path: Path, opened: Opened) -> None:
    store = opened(tmp_path)
    found = records(store, None)
    assert (found.ballots, found.raters, found.voids, found.trials) == ((), (), {}, 0)
    with pytest.raises(Refused, match=r"no study 'nope' in this folder: it holds none"):
        records(store, "nope")
    open_study(store)
    with pytest.raises(Refused, match=STUDY):
        records(store, "nope")
    assert records(store, STUDY).raters == ()


def test_one_catch_is_told_of_whole(tmp_path: Path, opened: Opened) -> None:
    found = records(small_study(tmp_path, opened), STUDY)
    assert [(catch.rater, catch.purpose, catch.passed) for catch in found.catches] == [
        (RATERS[0], "same", True),
        (RATERS[0], "salad", True),
        (RATERS[1], "same", False),
        (RATERS[1], "salad", False),
        (RATERS[2], "salad", True),
    ]
    last = found.catches[-1]
    assert last == Catch(last.trial, RATERS[2], "mark", "salad", "not_funny", True)


def note(store: Store, kind: str, told: Any, study: str = STUDY) -> None:
    store.db.run(
        "insert into event (study, rater, kind, told, at) values (:study, null, :kind, :told, :at)",
        study=study,
        kind=kind,
        told=json.dumps(told),
        at=now(),
    )


def test_former_settings_are_told_without_codes_and_folders(tmp_path: Path, opened: Opened) -> None:
    store = small_study(tmp_path, opened)
    note(store, "settings changed", {"before": SETTINGS | {"minutes": 7}})
    note(store, "settings changed", {"why": "nothing is known of before"})
    *_, known, bare = records(store, STUDY).events
    before = json.loads(known.told)["before"]
    assert (before["minutes"], before["design"]["seed"]) == (7, 41)
    assert (before["codes"], before["people"]) == ("set, withheld here", "people.jsonl")
    assert "CODE-FOR-PAY" not in known.told
    assert "/home/somebody" not in known.told
    assert "cc=" not in known.told
    assert json.loads(bare.told)["why"] == "nothing is known of before"


def test_what_was_written_is_told_trial_by_trial(tmp_path: Path, opened: Opened) -> None:
    store = small_study(tmp_path, opened)
    learned = Candidate("made", ARMS[1], "Socks.", tokens=9, seconds=0.5, state="3fa9")
    judge(store, RATERS[2], learned, HUMAN, position=20)
    found = records(store, STUDY)
    first, last = found.written[0], found.written[-1]
    assert (first.rater, first.kind, first.purpose, first.choice, first.viewed) == (
        RATERS[0],
        "pair",
        "main",
        "right",
        4200,
    )
    assert (first.ask.payload, first.counted, first.shown, first.void) == ("pigeons", True, True, "")
    assert last.sides[0] == Side("made", ARMS[1], 9, 0.5, "e1", "3fa9")
    assert (last.sides[1].arm, last.sides[1].engine, last.sides[1].tokens) == (HUMAN, "", 0)
    assert (last.choice, last.viewed, last.counted, last.shown) == ("", None, False, False)
    assert len(next(trial for trial in found.written if trial.kind == "mark").sides) == 1
    assert [trial.void for trial in found.written if trial.void and trial.choice] == ["too fast"]
    assert sum(trial.counted for trial in found.written) == sum(rater.votes for rater in found.raters)
    assert found.kinds == {"pair", "mark"}
    assert found.arms == ARMS
    assert [(answer.rater, answer.question) for answer in found.answers] == [(RATERS[0], "age")]
    assert len(found.played) == 5, "skips are not played"


def test_the_only_study_of_a_folder_is_meant_where_nobody_played(tmp_path: Path, opened: Opened) -> None:
    assert pick(opened(tmp_path / "empty"), None) is None
    store = small_study(tmp_path / "one", opened)
    assert pick(store, None) == pick(store, STUDY) == STUDY
    assert pick(store, "another") == "another", "whether it is here is seen later"
    open_study(store, "study-2")
    with pytest.raises(Refused, match=r"several studies: name one, study-1, study-2"):
        pick(store, None)
    store.open_session("me-session", "me")
    judge(store, "me", *ARMS[:2], study=None)
    with pytest.raises(Refused, match="nobody played"):
        pick(store, None)
    judge(store, "me", *ARMS[:2], "left", study=None)
    assert pick(store, None) is None
