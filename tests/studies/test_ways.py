"""Which ways take part is the person's choice, the floor's never; a fit is kept only if it is better."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from collectors.item import Item, Signal, read_reactions, write_reactions
from engine import fitting
from engine.learning import facts_of, state_of, state_path
from engine.methods import ARMS, arm_id
from engine.methods.cope import CoPe
from engine.methods.dpo import DPO
from engine.methods.e2p import E2P
from engine.methods.fitted import Fitted
from engine.methods.history import History
from engine.methods.lora import LoRA
from engine.optimise import Recipe
from engine.state import save
from studies import teaching
from studies.pairs import FLOOR, OPENING, lacking, make_pairs
from studies.session import ME, Studio
from studies.store import Refused, Store
from tests.studies.test_pairs import Talker, likes, one_thread, person  # noqa: F401 - a fixture for every test here

E2P_ARM, FITTED, HISTORY = arm_id(E2P()), arm_id(Fitted()), arm_id(History())
PICKED, EXPLAINED = arm_id(LoRA(of="picked")), arm_id(LoRA(of="explained"))
ADAPTER, REFINED, CONTRASTED = arm_id(LoRA()), arm_id(DPO()), arm_id(CoPe())


@pytest.fixture
def studio(tmp_path: Path, tiny, monkeypatch: pytest.MonkeyPatch) -> Studio:
    """A room whose worker does not run: what the verbs do is all that happens."""
    monkeypatch.setattr(fitting, "FIT", Recipe(steps=8, batch=2, accumulate=1, lr=1e-2, evaluate_every=2))
    room = Studio(Store(tmp_path), Talker(tiny))
    likes(room.store, 7)
    room.enter("a")
    room.worker._person()
    return room


def teach(studio: Studio, method=None) -> None:
    """A state as a population would have left it."""
    method = method or E2P()
    vectors = np.random.default_rng(0).normal(size=(50, 384)).astype(np.float32)
    save(state_path(studio.lm, method, studio.folder, ME), method.born(studio.lm, vectors), facts_of(studio.lm, method))


def chosen(studio: Studio) -> set[str]:
    return {way.arm for way in studio.ways("a") if way.chosen}


def test_the_opening_takes_part_until_somebody_chooses_and_the_floor_always(studio):
    assert [way.arm for way in studio.ways("a")] == list(ARMS)
    assert {way.note for way in studio.ways("a")} == {""}, (
        "what came for the embedded model is not what this one learned"
    )
    assert chosen(studio) == set(OPENING)
    studio.choose("a", [HISTORY])
    assert chosen(studio) == {*FLOOR, HISTORY}
    studio.choose("a", [])
    assert chosen(studio) == set(FLOOR)
    assert Studio(Store(studio.folder), studio.lm).store.selected(ME) == [], "a choice outlives a restart"


def test_only_what_takes_part_is_written(studio):
    studio.choose("a", [HISTORY])
    make_pairs(studio.store, studio.lm, person(studio.store), 6)
    arms = {row["arm"] for row in studio.store.db.rows("select arm from candidate")}
    assert arms == {*FLOOR, HISTORY}
    with pytest.raises(Refused, match="is not known here"):
        studio.choose("a", ["no-such-arm"])
    assert chosen(studio) == {*FLOOR, HISTORY}


def test_a_taught_way_writes_and_its_texts_name_what_it_had_learned(studio):
    studio.choose("a", [E2P_ARM])
    assert "has learned nothing yet" in next(way.lacks for way in studio.ways("a") if way.arm == E2P_ARM)
    teach(studio)
    way = next(way for way in studio.ways("a") if way.arm == E2P_ARM)
    assert way.lacks == ""
    make_pairs(studio.store, studio.lm, person(studio.store), 6)
    states = {row["arm"]: row["state"] for row in studio.store.db.rows("select arm, state from candidate")}
    assert states.keys() == {*FLOOR, E2P_ARM}
    assert way.note == f"learned ({states[E2P_ARM][:6]})"
    assert all(states[arm] == "" for arm in FLOOR)


def test_a_damaged_state_takes_its_arm_out_in_words_and_pairs_go_on(studio):
    teach(studio)
    studio.choose("a", [E2P_ARM, HISTORY])
    state_path(studio.lm, E2P(), studio.folder, ME).write_bytes(b"nothing")
    way = next(way for way in studio.ways("a") if way.arm == E2P_ARM)
    assert ("learn it anew" in way.lacks, way.note) == (True, "")
    assert "learn it anew" in lacking(studio.store, studio.lm, studio.worker.profile)[E2P_ARM]
    assert make_pairs(studio.store, studio.lm, person(studio.store), 4) > 0


def test_a_fit_goes_on_from_what_was_taught_tells_how_far_it_is_and_is_used(studio):
    with pytest.raises(Refused, match="of which there is nothing yet"):
        next(studio.fit("a", FITTED, lambda: False))
    teach(studio)
    assert "fit it on the Train page" in next(way.lacks for way in studio.ways("a") if way.arm == FITTED)
    *steps, end = studio.fit("a", FITTED, lambda: False)
    assert [now.step for now in steps] == list(range(9))
    assert all(now.ended == "" and now.steps == 8 for now in steps)
    assert end.after < end.before
    assert "kept" in end.ended
    assert len(end.curve) == 9
    assert next(way.lacks for way in studio.ways("a") if way.arm == FITTED) == ""
    shared, own = (state_of(studio.lm, method, studio.folder, ME) for method in (E2P(), Fitted()))
    assert any(not np.allclose(shared[name], own[name]) for name in shared)
    assert state_path(studio.lm, Fitted(), studio.folder, ME).with_suffix(".csv").exists()


def test_a_fit_that_is_no_better_is_not_kept(studio, monkeypatch):
    teach(studio)
    monkeypatch.setattr(fitting, "FIT", Recipe(steps=4, batch=2, accumulate=1, lr=0.0, evaluate_every=2))
    *_, end = studio.fit("a", FITTED, lambda: False)
    assert "not kept" in end.ended
    assert state_of(studio.lm, Fitted(), studio.folder, ME) is None


def test_an_adapter_is_fitted_then_refined_and_contrasted(studio):
    assert [way.arm for way in studio.ways("a") if way.fittable] == [ADAPTER, PICKED, EXPLAINED, FITTED, REFINED]
    with pytest.raises(Refused, match=r"dpo goes on from lora, .* fit it first"):
        next(studio.fit("a", REFINED, lambda: False))
    lacks = {way.arm: way.lacks for way in studio.ways("a")}
    assert all("fit it on the Train page" in lacks[arm] for arm in (ADAPTER, REFINED, CONTRASTED))
    for arm in (ADAPTER, REFINED):
        *_, end = studio.fit("a", arm, lambda: False)
        assert end.after < end.before
        assert len(end.samples) == 2
    assert {way.arm for way in studio.ways("a") if not way.lacks} >= {ADAPTER, REFINED, CONTRASTED}
    assert {way.note for way in studio.ways("a") if way.arm in (ADAPTER, REFINED)} == {"fitted on 7 of your likes"}
    likes(studio.store, 9)
    studio.worker._person()
    assert {way.note for way in studio.ways("a") if way.arm in (ADAPTER, REFINED)} == {
        "fitted on 7 of your likes, 2 likes ago"
    }
    studio.choose("a", [CONTRASTED])
    assert make_pairs(studio.store, studio.lm, person(studio.store), 4) > 0
    with pytest.raises(Refused, match="choose what to fit"):
        studio.fit("a", HISTORY, lambda: False)


def test_a_fit_can_be_stopped_and_two_at_once_cannot_be(studio):
    teach(studio)
    go, first_step = threading.Event(), iter([False])
    first = studio.fit(
        "a", FITTED, lambda: next(first_step, True) and go.wait(30)
    )  # its second step waits to be stopped
    assert [next(first).step, next(first).step] == [0, 1]
    with pytest.raises(Refused, match="already"):
        next(studio.fit("a", FITTED, lambda: False))
    go.set()
    *_, end = first
    assert end.ended.startswith("stopped")
    assert [row[0] for row in end.curve] == [0, 1, 2]
    assert len(list(studio.folder.rglob("*.checkpoint"))) == 1
    *_, end = studio.fit("a", FITTED, lambda: False)
    assert [row[0] for row in end.curve] == list(range(9)), "it goes on where it was stopped"
    assert list(studio.folder.rglob("*.checkpoint")) == []


def test_what_was_stopped_with_other_likes_is_forgotten(studio):
    teach(studio)
    list(studio.fit("a", FITTED, lambda: True))
    assert len(list(studio.folder.rglob("*.checkpoint"))) == 1
    likes(studio.store, 9)
    studio.worker._person()
    *steps, end = studio.fit("a", FITTED, lambda: False)
    assert [now.step for now in steps] == list(range(9))
    assert "kept" in end.ended
    assert list(studio.folder.rglob("*.checkpoint")) == []


def test_a_fit_without_likes_ends_in_a_sentence(tmp_path, tiny, monkeypatch):
    room = Studio(Store(tmp_path / "other"), Talker(tiny))
    room.enter("a")
    teach(room)
    with pytest.raises(Refused, match="it needs at least one like"):
        list(room.fit("a", FITTED, lambda: False))


# ---- teaching on many people's reactions


@pytest.fixture
def crowd(tmp_path: Path) -> Path:
    """Forty people, five likes each."""
    people = []
    for n in range(40):
        items = [Item("made", f"{n}-{k}", "joke", f"Number {k} of user {n} left the house for good.") for k in range(5)]
        people.append((f"user{n}", [(item, Signal(item.id, 1)) for item in items]))
    write_reactions(tmp_path / "crowd.jsonl", people)
    return tmp_path / "crowd.jsonl"


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Recipe(steps=12, batch=4, accumulate=1, lr=3e-2, evaluate_every=4, max_target_tokens=16)
    monkeypatch.setattr(teaching, "TEACH", quick)


def test_what_learns_from_many_people_can_be_taught_from_the_page(studio):
    arms = {way.arm for way in studio.ways("a") if way.teachable}
    assert E2P_ARM in arms
    assert not {HISTORY, FITTED} & arms


def test_a_way_that_is_taught_tells_what_it_is_worth_and_takes_part(studio, crowd, quickly):
    assert "learned nothing yet" in next(way.lacks for way in studio.ways("a") if way.arm == E2P_ARM)
    *steps, end = studio.teach("a", E2P_ARM, crowd, lambda: False)
    assert [now.step for now in steps] == list(range(13))
    assert end.after < end.before
    assert "kept; a person's own profile saves" in end.ended
    way = next(way for way in studio.ways("a") if way.arm == E2P_ARM)
    assert (way.lacks, way.note[:7]) == ("", "learned")
    told = json.loads(state_path(studio.lm, E2P(), studio.folder, "").with_suffix(".json").read_text())
    assert (told["people"], told["arm"]) == (36, E2P_ARM)


def test_teaching_refuses_in_words_and_what_was_learned_stays(studio, crowd, quickly, tmp_path):
    list(studio.teach("a", E2P_ARM, crowd, lambda: False))
    path = state_path(studio.lm, E2P(), studio.folder, "")
    before = path.read_bytes()
    (tmp_path / "bad.jsonl").write_text("not a line of JSON")
    with pytest.raises(Refused, match=r"bad\.jsonl"):
        list(studio.teach("a", E2P_ARM, tmp_path / "bad.jsonl", lambda: False))
    with pytest.raises(Refused, match="choose one of the ways"):
        studio.teach("a", HISTORY, crowd, lambda: False)
    write_reactions(tmp_path / "few.jsonl", list(read_reactions(crowd))[:3])
    with pytest.raises(Refused, match="held out"):
        list(studio.teach("a", E2P_ARM, tmp_path / "few.jsonl", lambda: False))
    assert path.read_bytes() == before


def test_memory_that_does_not_suffice_ends_in_a_sentence_and_the_next_try_works(studio, crowd, quickly, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("no memory")

    with monkeypatch.context() as broken:
        broken.setattr("engine.train.token_logps", full)
        with pytest.raises(Refused, match="memory"):
            list(studio.teach("a", E2P_ARM, crowd, lambda: False))
    assert list(studio.teach("a", E2P_ARM, crowd, lambda: False))[-1].ended


def test_what_was_stopped_goes_on_with_the_same_people_only(studio, crowd, quickly, tmp_path):
    stops = iter([False, False, False, False, True])
    *_, first = studio.teach("a", E2P_ARM, crowd, lambda: next(stops))
    assert (first.step, first.ended[:7]) == (5, "stopped")
    *steps, second = studio.teach("a", E2P_ARM, crowd, lambda: False)
    assert [now.step for now in steps[1:]] == list(range(6, 13))
    assert second.ended.startswith("all steps done")
    stops = iter([True])
    list(studio.teach("a", E2P_ARM, crowd, lambda: next(stops)))
    others = [(f"other {user}", reactions) for user, reactions in read_reactions(crowd)]
    write_reactions(tmp_path / "others.jsonl", others)
    steps = list(studio.teach("a", E2P_ARM, tmp_path / "others.jsonl", lambda: False))
    assert steps[1].step == 1, "another file begins anew"
