"""The Write corner: a text as it grows, stopped or whole; nothing is stored."""

import threading
from pathlib import Path

import pytest

from engine.backbone import Backbone
from engine.methods import ARMS
from studies.pairs import FLOOR
from studies.session import Studio
from studies.store import Refused, Store


@pytest.fixture
def studio(tmp_path: Path, tiny: Backbone) -> Studio:
    studio = Studio(Store(tmp_path), tiny)  # its worker is not started: nobody else writes
    studio.enter("a")
    return studio


def test_a_text_grows_and_ends_and_nothing_is_stored(studio: Studio) -> None:
    tables = {name: studio.store.db.rows(f'select count(*) as n from "{name}"') for name in studio.store.tables()}
    *growing, whole = studio.corner.write("a", FLOOR[0], "joke", "ducks")
    assert growing
    assert all(not draft.ended for draft in growing)
    assert whole.ended in ("stop", "budget")
    assert whole.about == "ducks"
    assert whole.tokens > 0
    assert {name: studio.store.db.rows(f'select count(*) as n from "{name}"') for name in tables} == tables


def test_a_text_can_be_stopped_and_the_next_one_written(studio: Studio) -> None:
    with studio.worker.turns.turn("somebody"):
        coming = studio.corner.write("a", FLOOR[0], "joke", "")
        assert next(coming).before == 1, "who waits is told how many come first"
        with pytest.raises(Refused, match="being written already"):
            next(studio.corner.write("a", FLOOR[0], "joke", ""))
        studio.corner.stop()
        studio.worker.turns.look_again()
        assert [*coming][-1].ended == "stopped"
    assert [*studio.corner.write("a", FLOOR[0], "joke", "")][-1].ended in ("stop", "budget")


@pytest.mark.parametrize("kind", ["joke", "post", "caption", "reply"])
def test_every_kind_is_written_about_something(studio: Studio, kind: str) -> None:
    assert [*studio.corner.write("a", FLOOR[0], kind, "")][-1].about


@pytest.mark.parametrize(("arm", "kind"), [("", "joke"), ("no such arm", "joke"), (FLOOR[0], "task"), (FLOOR[0], "")])
def test_what_is_not_there_is_refused_in_words(studio: Studio, arm: str, kind: str) -> None:
    with pytest.raises(Refused):
        next(studio.corner.write("a", arm, kind, ""))
    assert not studio.corner._busy.locked()


def test_only_ways_that_can_write_now_are_offered(studio: Studio) -> None:
    offered = {arm for _, arm in studio.corner.ways("a")}
    assert set(FLOOR) <= offered < set(ARMS)


def test_an_error_is_told_and_the_next_text_comes(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(type(studio.lm), "step", lambda *_: 1 / 0)
        with pytest.raises(Refused, match="could not be written"):
            list(studio.corner.write("a", FLOOR[0], "joke", ""))
    assert [*studio.corner.write("a", FLOOR[0], "joke", "")][-1].ended
    assert not [thread for thread in threading.enumerate() if thread.name == "corner"]
