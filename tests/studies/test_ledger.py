"""The ledger of all visitors' votes: on disk before it is told, ids only, the same after a restart and a kill."""

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.backbone import Backbone
from studies.database import StoreError
from studies.house import Hosted
from studies.ledger import Ledger
from studies.outcome import outcome
from studies.session import Engine
from tests.studies.test_session import Talker

ADA, BOB = "a" * 32, "b" * 32
VOTE = {"left": "none-79049c", "right": "history-2c644d", "choice": "left", "flags": [], "engine": "tiny"}


@pytest.fixture
def hosted(tmp_path: Path, tiny: Backbone) -> Iterator[Hosted]:
    house = Hosted(tmp_path, Engine(Talker(tiny), None, None))  # type: ignore[arg-type]
    house.start()
    yield house
    house.close()


def segments(ledger: Ledger) -> str:
    return "".join(path.read_text() for path in sorted(ledger.folder.rglob("*.jsonl")))


def vote(house: Hosted, session: str, choice: str, *flags: tuple[str, str]) -> tuple[str, str, str]:
    """Vote on the next pair; returns its id and its two texts."""
    room = house.room(session)
    pair = room.next_pair(session)
    room.vote(session, pair.id, choice, flags)
    return pair.id, pair.left_text, pair.right_text


def test_the_ledger_says_what_the_stores_say_and_holds_no_text(hosted: Hosted) -> None:
    shown = [vote(hosted, ADA, "left", ("left", "sounds_ai")), vote(hosted, BOB, "both"), vote(hosted, ADA, "neither")]
    stores = [hosted.room(name).store for name in (ADA, BOB)]
    ours = sorted((b.left, b.right, b.choice, *b.sounds_ai) for b in hosted.ballots())
    assert ours == sorted((b.left, b.right, b.choice, *b.sounds_ai) for store in stores for b in store.ballots())
    assert len({ballot.rater for ballot in hosted.ballots()}) == 2
    assert hosted.outcome() == outcome(hosted.ballots())
    assert hosted.outcome() is hosted.outcome(), "reckoned once"
    vote(hosted, BOB, "left")
    assert hosted.outcome().votes == 4
    kept = segments(hosted.ledger)
    lines = [json.loads(line) for line in kept.splitlines()]
    assert {key for line in lines for key in line} == {
        "rater", "at", "vote", "left", "right", "choice", "flags", "engine",
    }  # fmt: skip
    for trial, left, right in shown:
        assert trial in kept
        assert left not in kept
        assert right not in kept
    for store in stores:
        for row in store.db.rows("select ask from trial"):
            assert json.loads(row["ask"])["payload"] not in kept
    assert ADA not in kept


def test_a_vote_taken_back_counts_no_more_and_a_restart_changes_nothing(hosted: Hosted, tiny: Backbone) -> None:
    vote(hosted, ADA, "left")
    vote(hosted, BOB, "right")
    hosted.room(BOB).take_back_vote(BOB)
    told = hosted.ballots(), hosted.outcome()
    assert len(told[0]) == 1
    hosted.close()
    again = Hosted(hosted.folder, Engine(Talker(tiny), None, None))  # type: ignore[arg-type]
    assert (again.ballots(), again.outcome()) == told
    again.close()


def test_who_deletes_everything_is_taken_out_of_what_was_kept(hosted: Hosted) -> None:
    vote(hosted, ADA, "left")
    hosted.ledger.close()
    vote(hosted, ADA, "right")
    vote(hosted, BOB, "right")
    ada = next(ballot.rater for ballot in hosted.ballots())
    hosted.room(ADA).own.delete_me(ADA)
    assert len(hosted.ballots()) == 1
    lines = [json.loads(line) for line in segments(hosted.ledger).splitlines() if ada in line]
    assert [sorted(line) for line in lines] == [["at", "gone", "rater"]]
    vote(hosted, ADA, "left")
    hosted.ledger.close()
    assert len(Ledger(hosted.folder).ballots()) == 2, "who comes back counts again"


def test_a_copy_of_before_the_deletion_brings_nobody_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(ADA, vote="1", **VOTE)
    ledger.close()
    (old,) = ledger.closed.iterdir()
    copied = old.read_text()
    ledger.write(ADA, gone=True)
    old.with_name("votes-of-a-restored-copy.jsonl").write_text(copied)
    assert Ledger(tmp_path).ballots() == []


def test_what_was_taken_back_in_the_same_millisecond_stays_taken_back(tmp_path: Path) -> None:
    closed = Ledger(tmp_path).closed
    at = "2026-11-29T12:00:00.000+00:00"
    told = {"1": {"undo": "a"}, "2": {"vote": "a", **VOTE}, "3": {"vote": "b", **VOTE}}
    for name, line in told.items():
        (closed / f"votes-{name}.jsonl").write_text(json.dumps({"rater": ADA, "at": at, **line}) + "\n")
    assert list(Ledger(tmp_path)._ballots) == ["b"]


def test_segments_close_when_they_are_full_or_old(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, lines=2, seconds=0.2)
    for trial in "12345":
        ledger.write(ADA, vote=trial, **VOTE)
    assert len(list(ledger.closed.iterdir())) == 2
    assert len(list(ledger.folder.glob("*.jsonl"))) == 1
    ledger.close_old()
    assert len(list(ledger.closed.iterdir())) == 2
    time.sleep(0.3)
    ledger.close_old()
    assert len(list(ledger.closed.iterdir())) == 3
    assert list(ledger.folder.glob("*.jsonl")) == []
    assert len(Ledger(tmp_path).ballots()) == 5


@pytest.mark.parametrize(
    "broken",
    [
        '{"rater": "x", "at": "2026',
        "[]",
        "7",
        '{"rater": "x", "at": "2026", "vote": "9"}',
        '{"rater": "x", "at": "2026", "vote": "9", "left": "a", "right": "b", "choice": "win", "flags": []}',
        "\x00\x00",
    ],
)
def test_a_damaged_line_is_passed_over_and_counted(tmp_path: Path, broken: str) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(ADA, vote="1", **VOTE)
    ledger.close()
    (segment,) = ledger.closed.iterdir()
    segment.write_text(f"{broken}\n{segment.read_text()}{broken}")
    again = Ledger(tmp_path)
    assert (len(again.ballots()), again.damaged) == (1, 2)


def test_a_vote_that_was_told_outlives_kill_9(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    if not (child := os.fork()):
        ledger = Ledger(tmp_path, lines=7)
        for n in itertools.count():
            ledger.write(ADA, vote=str(n), **VOTE)
            os.write(writing, f"{n}\n".encode())
    os.close(writing)
    with os.fdopen(reading) as told:
        heard = [told.readline() for _ in range(40)]
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        heard += told.readlines()
    ledger = Ledger(tmp_path)
    assert {str(n) for n in range(len(heard))} <= ledger._ballots.keys()
    assert ledger.damaged <= 1


def test_many_write_at_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, lines=10)
    raters = [f"{n:032x}" for n in range(4)]

    def votes(rater: str) -> None:
        for n in range(10):
            ledger.write(rater, vote=f"{rater}{n}", **VOTE)
        ledger.outcome()

    threads = [threading.Thread(target=votes, args=(rater,)) for rater in raters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.close()
    assert len(Ledger(tmp_path).ballots()) == 40 == len(ledger.ballots())
    assert sum(s.wins + s.losses for s in ledger.outcome().standings) == 80


def test_a_disk_that_takes_nothing_is_told_in_words(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for path in (ledger.closed, ledger.folder):
        path.rmdir()
    with pytest.raises(StoreError, match="free some space"):
        ledger.write(ADA, vote="1", **VOTE)
