"""The model where an accelerator is lent: tasks and what they say are pickled, in and out of a forked process."""

import contextvars
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.backbone import Backbone
from engine.methods import ARMS
from engine.methods.base import Ask
from engine.profile import Profile
from engine.reasons import drafts
from engine.summary import summarize
from studies import device
from studies.device import by_model, lend
from studies.house import Hosted
from studies.pairs import Slot, write_texts
from studies.session import CannotStart, Engine
from studies.store import Refused
from tests.studies.test_session import Talker, until

ADA = "a" * 32
somebody: contextvars.ContextVar[str] = contextvars.ContextVar("somebody", default="nobody")


class Lender:
    """As `spaces.GPU` does it: arguments and results go through pickle, the work is done in a fork of this process."""

    def __init__(self) -> None:
        self.asked_by: list[str] = []
        self.bytes: list[tuple[int, int]] = []

    def __call__(self, task: Callable[..., Any]) -> Callable[..., Any]:
        def there(*told: Any) -> Any:
            self.asked_by.append(somebody.get())
            going = pickle.dumps(told)
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                try:
                    os.write(writing, b"")
                    coming = pickle.dumps(task(*pickle.loads(going)))
                except BaseException as error:
                    coming = pickle.dumps(error)
                with os.fdopen(writing, "wb") as out:
                    out.write(coming)
                os._exit(0)
            os.close(writing)
            with os.fdopen(reading, "rb") as came:
                coming = came.read()
            os.waitpid(child, 0)
            self.bytes.append((len(going), len(coming)))
            said = pickle.loads(coming)
            if isinstance(said, BaseException):
                raise said
            return said

        return there


@pytest.fixture
def lender(tiny: Backbone) -> Iterator[Lender]:
    lender = Lender()
    lend(tiny, lender)
    yield lender
    device._model = device._there = None


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_every_way_writes_there_what_it_writes_here(tmp_path: Path, tiny: Backbone, profile: Profile) -> None:
    able = [arm for arm, method in ARMS.items() if not method.personal and method.lacks(tiny, profile) is None]
    able = [arm for arm in able if ARMS[arm].name in ("none", "history", "retrieval", "summary", "reranked")]
    wanted = {n: (Slot(arm, arm, "cats"), Ask(payload="cats", seed=n)) for n, arm in enumerate(able)}
    here = write_texts(tiny, tmp_path, profile, wanted)
    lender = Lender()
    lend(tiny, lender)
    try:
        there = by_model(write_texts, tiny, tmp_path, profile, wanted)
    finally:
        device._model = device._there = None
    assert len(there) == len(able) >= 6
    assert [(k, v.text, v.evidence, v.tokens) for k, v in there.items()] == [
        (k, v.text, v.evidence, v.tokens) for k, v in here.items()
    ]
    assert files(tmp_path) == {}, "nothing is written"
    assert len(lender.bytes) == 1


def test_summaries_and_drafts_go_the_same_way(lender: Lender, tiny: Backbone, profile: Profile) -> None:
    assert by_model(summarize, tiny, profile) == summarize(tiny, profile) != ""
    assert by_model(drafts, tiny, ["one", "two"]) == drafts(tiny, ["one", "two"])
    assert len(lender.bytes) == 2


def test_another_model_works_here(lender: Lender, tiny: Backbone, profile: Profile) -> None:
    assert by_model(summarize, Talker(tiny), profile)  # type: ignore[arg-type]
    assert lender.bytes == []


def test_a_fault_there_is_a_fault_here(lender: Lender, tiny: Backbone, profile: Profile) -> None:
    wanted = {0: (Slot("none-79049c", "none-79049c", "cats"), Ask(max_new_tokens=10_000))}
    with pytest.raises(ValueError, match="exceed the window"):
        by_model(write_texts, tiny, Path(), profile, wanted)


def test_a_profile_comes_out_as_it_went_in(profile: Profile) -> None:
    again = pickle.loads(pickle.dumps(profile))
    assert np.array_equal(again.vectors, profile.vectors)
    assert (again.digest, again.items, again.signals) == (profile.digest, profile.items, profile.signals)
    assert asdict(pickle.loads(pickle.dumps(Ask(choices=("a",))))) == asdict(Ask(choices=("a",)))


def test_a_visitor_is_served_there_in_the_name_of_their_own_request(
    lender: Lender, tiny: Backbone, tmp_path: Path
) -> None:
    house = Hosted(tmp_path, Engine(tiny, None, None))
    try:

        def visit() -> None:
            somebody.set("ada")
            house.room(ADA)

        visiting = threading.Thread(target=contextvars.copy_context().run, args=(visit,))
        visiting.start()
        visiting.join()
        until(lambda: "ada" in lender.asked_by)
        assert "nobody" not in lender.asked_by
        room = house._rooms[next(iter(house._rooms))][0]
        for begin in (
            lambda: room.fit(ADA, "lora-72eacf", lambda: False),
            lambda: room.teach(ADA, "e2p-a5751f", Path("x"), lambda: False),
        ):
            with pytest.raises(Refused, match="lent for seconds"):
                begin()
        before = len(lender.bytes)
        (draft,) = [draft for draft in room.corner.write(ADA, "none-79049c", "joke", "ducks") if draft.ended]
        assert draft.text
        assert len(lender.bytes) > before
        assert room.ways(ADA)
        assert room.taste(ADA).likes == 0
    finally:
        house.close()


def test_a_recommender_has_no_place_there(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="--rank"):
        Engine.load(tmp_path, rank="judge", gpu=Lender())
