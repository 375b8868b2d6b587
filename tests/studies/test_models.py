"""Another model in the same room: what stays, what is written anew, and what is told where it cannot be had."""

import gc
import importlib
import json
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from transformers import LlamaForCausalLM

from engine import learning
from engine.backbone import Backbone
from engine.methods import ARMS
from engine.methods.base import PRESETS, USUAL
from engine.profile import Profile
from engine.state import save
from engine.weights import EMBEDDED
from studies import house as houses
from studies import settings
from studies.house import Home, open_house
from studies.models import Change
from studies.pairs import MAX_ATTEMPTS, Person, make_pairs, supersede
from studies.session import NotReady
from studies.settings import Settings
from studies.store import ME, Refused, Store
from tests.studies.test_pairs import Talker, one_thread  # noqa: F401 - a fixture for every test here
from tests.studies.test_session import settled, until

GB = 10**9
ADA = "a" * 32
Open = Callable[..., Home]


@pytest.fixture(scope="module")
def folders(tiny: Backbone, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two models: the tiny one, and one of the same shape with other weights."""
    # When it is imported it logs an exception, whose frames pytest would keep, and with them what is being loaded.
    importlib.import_module("bitsandbytes")
    other = tmp_path_factory.mktemp("other") / "other-model"
    model = LlamaForCausalLM(tiny.model.config)
    model.load_state_dict(tiny.model.state_dict())
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(1.5)
        model.model.norm.weight.mul_(1.01)
    model.save_pretrained(other)
    tiny.tokenizer.save_pretrained(other)
    return str(tiny_folder), str(other)


@pytest.fixture(autouse=True)
def talking(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is loaded from a folder says everyday words, so that no pair is void."""
    real = Backbone.load

    def load(model: str | None = None, quantize: str = "auto") -> Backbone:
        lm = real(model, quantize)  # type: ignore[arg-type]
        if model:
            lm, name = Talker(lm), lm.name
            lm.name = name
        return lm

    monkeypatch.setattr(Backbone, "load", load)


@pytest.fixture
def at_home(tmp_path: Path, folders: tuple[str, str]) -> Iterator[Open]:
    """Opens the house of one folder as `app.py` does; closes what it opened."""
    opened: list[Home] = []

    def open_it(model: str | None = folders[0], start: bool = True, **more: object) -> Home:
        home = open_house(tmp_path, hosted=False, seed=0, model=model, **more)
        assert isinstance(home, Home)
        opened.append(home)
        if start:
            home.start()
        return home

    yield open_it
    for home in opened:
        home.close()


def told(home: Home, model: str, quantize: str = "none") -> str:
    """Change the model and wait for the outcome."""
    return [change.told for change in home.models.use(model, quantize)][-1]  # type: ignore[arg-type]


def free_memory(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))


@pytest.mark.parametrize("free", [64 * GB, None], ids=["both at a time", "one after the other"])
def test_there_and_back_again(at_home: Open, folders, monkeypatch, free: int | None) -> None:
    a, b = folders
    home = at_home()
    room = home.room(ADA)
    settled(room)
    card, pair = room.next_card(ADA), room.next_pair(ADA)
    assert card
    room.vote(ADA, pair.id, "left")
    lying = room.next_pair(ADA)
    settled(room)
    waiting = {row["id"] for kind in ("pair", "card") for row in room.store.ready(ME, kind)}
    assert len(waiting) >= 3
    first, gone = room.lm.fingerprint, weakref.ref(room.lm.model)
    # one byte too little for both, and enough once the first one is let go of
    needs = houses.check_room(b, "none").needs
    free_memory(monkeypatch, free or needs - 1)
    del room

    assert told(home, b) == f"{b} writes from now on."
    room = home.room(ADA)
    assert room.lm.name == "other-model"
    assert room.lm.fingerprint != first
    gc.collect()
    assert gone() is None, "the memory of the first is free again"
    rows = room.store.db.rows("select * from trial")
    superseded = {row["id"]: row["engine"] for row in rows if row["void_reason"] == "superseded"}
    assert waiting <= superseded.keys()
    assert set(superseded.values()) == {first}
    assert room.next_card(ADA) == card, "what lies on the table stays there"
    assert room.next_pair(ADA) == lying
    room.react(ADA, card.id, "like")
    room.vote(ADA, lying.id, "right")
    assert (len(room.store.ballots()), len(room.likes(ADA))) == (2, 1)
    following = room.next_pair(ADA)
    (row,) = room.store.db.rows("select engine, position from trial where id = :id", id=following.id)
    assert row["engine"] == room.lm.fingerprint
    assert settings.read(home.folder) == Settings(b, "none")
    del room

    assert told(home, a) == f"{a} writes from now on."
    assert home.room(ADA).lm.fingerprint == first
    assert home.room(ADA).next_pair(ADA) == following


def test_a_superseded_pair_is_no_failed_attempt(tmp_path: Path, tiny: Backbone) -> None:
    """Else a person who tries models would lose positions of the schedule."""
    store, lm, person = Store(tmp_path), Talker(tiny), Person(Profile(ME), None, 0)
    store.open_session(ADA, ME)
    for _ in range(MAX_ATTEMPTS + 2):
        while not store.ready(ME, "pair"):
            make_pairs(store, lm, person, 1)
        assert supersede(store, ME, lm.fingerprint, USUAL) == 0
        (row,) = store.db.rows("select position from trial where void_reason is null")
        assert row["position"] == 0
        assert supersede(store, ME, "another engine", USUAL) == 1


def test_what_was_learned_for_a_model_is_there_again_with_it(at_home: Open, folders: tuple[str, str]) -> None:
    home, method = at_home(), ARMS["e2p-a5751f"]
    lm = home.studio.lm
    path = learning.state_path(lm, method, home.folder, "")
    save(path, learning.born_on(lm, method), learning.facts_of(lm, method))
    named = learning.state_name(lm, method, home.folder, ME)
    del lm
    told(home, folders[1])
    assert learning.state_name(home.studio.lm, method, home.folder, ME) == ""
    assert path.exists()
    told(home, folders[0])
    assert learning.state_name(home.studio.lm, method, home.folder, ME) == named != ""


def test_a_model_that_cannot_be_loaded_leaves_the_one_before(
    at_home: Open, tmp_path: Path, folders, monkeypatch
) -> None:
    home = at_home()
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in Path(folders[1]).iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    name = home.studio.lm.name
    assert "cannot be loaded" in told(home, str(broken))
    assert not home.studio.teacher.busy(), "and everything may go on"
    free_memory(monkeypatch, houses.check_room(str(broken), "none").needs - 1)
    said = told(home, str(broken))
    assert "cannot be loaded" in said
    assert said.startswith(f"{name} goes on: ")
    assert "--model" not in said
    assert home.chosen.model == folders[0]
    assert settings.read(home.folder).model is None, "what did not come to be is not remembered"
    home.room(ADA).next_pair(ADA)


@pytest.mark.parametrize("name", ["./not-there", "somebody/some-model", "no name at all"])
def test_what_is_not_there_is_said_in_a_sentence(at_home: Open, name: str, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    home = at_home()
    said = told(home, name)
    assert said.endswith(".")
    assert name.rpartition("/")[2] in said
    assert home.room(ADA).next_card(ADA)


def test_what_will_not_fit_is_not_even_tried(at_home: Open, folders: tuple[str, str], monkeypatch) -> None:
    home = at_home()
    room = home.studio
    free_memory(monkeypatch, 1000)
    said = told(home, folders[1])
    assert "needs 1.0 GB, 0.0 free" in said
    assert home.studio is room
    free_memory(monkeypatch, 8 * GB)
    assert "needs" in told(home, "meta-llama/Llama-3.1-8B-Instruct")  # and nothing was fetched for it


def test_a_fit_or_an_import_keeps_the_model(at_home: Open, folders: tuple[str, str]) -> None:
    home = at_home()
    assert home.studio.teacher.hold()
    assert "a fit is under way" in told(home, folders[1])
    home.studio.teacher.let_go()
    with home.studio.imports._one:
        assert "an import or a fit is under way" in told(home, folders[1])
    assert home.chosen.model == folders[0]


def test_nothing_is_taught_imported_or_changed_twice_meanwhile(at_home: Open, folders, monkeypatch) -> None:
    home, going = at_home(), threading.Event()
    room = home.room(ADA)
    loaded = Home._engine

    def slowly(self: Home, *what):
        going.wait(20)
        return loaded(self, *what)

    monkeypatch.setattr(Home, "_engine", slowly)
    changes = home.models.use(folders[1], "none")
    assert next(changes).step == "loading"
    with pytest.raises(Refused, match="already"):
        home.models.use(folders[0])
    until(home.studio.teacher.busy)
    with pytest.raises(Refused, match="a fit or a judge is under way"):
        room.own.delete_me(ADA)
    assert home.room(ADA).next_card(ADA), "the feed goes on"
    going.set()
    assert list(changes)[-1].told.endswith("from now on.")
    with pytest.raises(Refused, match="a fit or a judge is under way"):
        room.own.delete_me(ADA)  # by a page that had the room in hand: somebody else writes there now


def test_who_waits_for_a_pair_is_told_of_the_change(at_home: Open) -> None:
    room = at_home(start=False).room(ADA)
    room.close()
    with pytest.raises(NotReady, match="being changed"):
        room.next_pair(ADA)


def test_while_the_model_is_put_down_the_page_is_told_so(at_home: Open, folders, monkeypatch) -> None:
    home = at_home()
    free_memory(monkeypatch, houses.check_room(folders[1], "none").needs - 1)
    seen: list[str] = []
    loaded = Home._engine

    def look(self: Home, *what):
        with pytest.raises(Refused, match="being changed") as refused:
            home.room(ADA)
        seen.append(str(refused.value))
        return loaded(self, *what)

    monkeypatch.setattr(Home, "_engine", look)
    told(home, folders[1])
    assert seen
    assert home.folder.exists()


@pytest.mark.parametrize("all_of_it", [True, False])
def test_a_model_that_somebody_holds_keeps_the_other_out(at_home: Open, folders, monkeypatch, all_of_it: bool) -> None:
    home = at_home()
    first = home.studio.lm.fingerprint
    held = home.studio.lm if all_of_it else home.studio.lm.model
    monkeypatch.setattr(houses, "PUT_DOWN", 0.2)
    free_memory(monkeypatch, houses.check_room(folders[1], "none").needs - 1)
    assert "needed right now" in told(home, folders[1])
    assert (home.studio.lm is held) == all_of_it
    assert home.studio.lm.fingerprint == first
    home.room(ADA).next_pair(ADA)


def test_a_prompt_that_the_model_cannot_read_at_once_is_refused_in_words(at_home: Open) -> None:
    home = at_home(start=False)
    home.studio.lm.context = 40
    home.start()
    with pytest.raises(NotReady, match=r"\(a prompt of \d+ tokens and 56 new ones exceed the window of 40 .* was cut"):
        home.room(ADA).next_pair(ADA)


# ---- remembered


def test_the_choice_outlives_a_restart_and_a_flag_wins(at_home: Open, folders: tuple[str, str]) -> None:
    a, b = folders
    home = at_home()
    told(home, b)
    home.close()
    again = at_home(None, start=False)
    assert (again.studio.lm.name, again.chosen, again.notice) == ("other-model", Settings(b, "none"), "")
    assert at_home(a, start=False).studio.lm.name != "other-model"
    assert settings.read(again.folder).model == b, "a flag is for once"


def test_a_choice_that_cannot_be_had_any_more_is_told_of(at_home: Open, tmp_path: Path, monkeypatch) -> None:
    settings.change(tmp_path, model="/gone/model")
    home = at_home(None, start=False)
    assert home.studio.lm.name == EMBEDDED
    assert home.notice.startswith("The model chosen last is not used: /gone/model is no model folder")
    assert home.notice.endswith(f"{EMBEDDED} writes instead.")
    assert home.models.offers().notice == home.notice


def test_deleting_everything_forgets_the_choice(at_home: Open, folders: tuple[str, str]) -> None:
    home = at_home()
    told(home, folders[1])
    home.models.use_preset("wild")
    home.room(ADA).own.delete_me(ADA)
    assert settings.read(home.folder) == Settings()
    until(lambda: bool(home.studio.store.ready(ME, "pair")))
    (row, *_) = home.studio.store.ready(ME, "pair")
    assert json.loads(row["ask"])["temperature"] == PRESETS[USUAL].temperature


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": 7, "quantize": "nf2", "preset": "loud"}', "null"])
def test_settings_that_make_no_sense_are_as_at_first(tmp_path: Path, content: str) -> None:
    (tmp_path / settings.FILE).write_text(content)
    assert settings.read(tmp_path) == Settings()


# ---- the sampler


def test_a_preset_is_in_every_ask_and_what_waited_is_superseded(at_home: Open) -> None:
    home = at_home()
    room = home.room(ADA)
    settled(room)
    before = {row["id"]: row["schedule"] for row in room.store.ready(ME, "pair")}
    home.models.use_preset("wild")
    settled(room)
    until(lambda: {json.loads(row["ask"])["temperature"] for row in room.store.ready(ME, "pair")} == {1.1})
    rows = room.store.ready(ME, "pair")
    assert {row["schedule"] for row in rows}.isdisjoint(before.values()), "arms are balanced under each sampler"
    asks = [json.loads(row["ask"]) for row in [*rows, *room.store.ready(ME, "card")]]
    assert {(a["temperature"], a["top_p"], a["top_k"], a["max_new_tokens"]) for a in asks} == {(1.1, 0.98, 200, 72)}
    voided = room.store.db.rows("select id from trial where void_reason = 'superseded'")
    assert before.keys() <= {row["id"] for row in voided}
    with pytest.raises(Refused, match="careful, usual, wild"):
        home.models.use_preset("loud")


# ---- what there is


def test_the_offers_are_the_catalogue_as_it_would_run_here(at_home: Open, monkeypatch) -> None:
    home = at_home(None, start=False)
    free_memory(monkeypatch, 8 * GB)
    told = home.models.offers()
    embedded, *others = told.offers
    assert (embedded.name, embedded.current, embedded.here) == ("", True, True)
    assert not any(offer.current or offer.here for offer in others)
    assert {offer.estimate.verdict for offer in others} == {"fits", "will not fit"} | {"tight"}
    assert told.free == 8 * GB
    assert told.held == home.studio.lm.held > 200e6
    assert told.context == 8192
    assert all("--quantize" not in offer.estimate.words for offer in others)


def test_the_best_needs_no_account_and_is_bearable(at_home: Open, monkeypatch) -> None:
    home = at_home(None, start=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    free_memory(monkeypatch, 64 * GB)
    best = home.models.best()
    assert best
    assert best.name == "HuggingFaceTB/SmolLM2-1.7B-Instruct"
    free_memory(monkeypatch, 3 * GB)
    assert (home.models.best() or best).name == "Qwen/Qwen3-0.6B"
    free_memory(monkeypatch, GB)
    assert home.models.best() is None


def test_changes_are_told_from_the_first_to_the_last(at_home: Open, folders: tuple[str, str]) -> None:
    home = at_home(start=False)
    assert list(home.models.watch()) == []
    changes = list(home.models.use(folders[1], "none"))
    assert changes[0] == Change(folders[1], "loading")
    assert changes[-1].step == "ended"
    assert all(not change.told for change in changes[:-1])
    assert list(home.models.watch()) == []


def test_a_closed_page_does_not_end_it(at_home: Open, folders: tuple[str, str]) -> None:
    home = at_home(start=False)
    changes = home.models.use(folders[1], "none")
    next(changes)
    changes.close()
    until(lambda: home.chosen.model == folders[1])
