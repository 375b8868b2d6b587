"""States on disk: they come back as they were, or a sentence says why not."""

import resource
from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.learning import PRETRAINED, facts_of, keep, learns, missing, state_of, state_path
from engine.methods import ARMS, BASES, METHODS
from engine.methods.e2p import E2P
from engine.methods.fitted import Fitted
from engine.methods.retrieval import Retrieval
from engine.optimise import Recipe, Trained
from engine.state import StateError, key, load, save

FACTS = {"arm": "e2p-1", "backbone": "abc"}


def test_a_state_survives_saving_and_nothing_unfinished_is_left(tmp_path):
    state = {"in.weight": torch.randn(3, 4), "gate": torch.zeros(1), "threshold": torch.tensor(0.25)}
    path = tmp_path / "deep" / "state.safetensors"
    save(path, state, FACTS)
    back = load(path, FACTS)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    assert [p.name for p in path.parent.iterdir()] == ["state.safetensors"]


def test_half_precision_comes_back_as_float32_within_its_rounding(tmp_path):
    state = {"w": torch.randn(100)}
    save(tmp_path / "s.safetensors", state, FACTS, torch.bfloat16)
    back = load(tmp_path / "s.safetensors", FACTS)["w"]
    assert back.dtype == torch.float32
    assert torch.allclose(back, state["w"], rtol=2**-8)


def test_a_state_of_another_model_truncated_or_with_nan_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "s.safetensors"
    save(path, {"w": torch.ones(1000)}, FACTS)
    with pytest.raises(StateError, match="another backbone"):
        load(path, FACTS | {"backbone": "xyz"})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(StateError, match="cannot be read"):
        load(path, FACTS)
    with pytest.raises(StateError, match="cannot be read"):
        load(tmp_path / "none.safetensors", FACTS)
    save(path, {"w": torch.tensor([1.0, float("nan")])}, FACTS)
    with pytest.raises(StateError, match="no numbers"):
        load(path, FACTS)


def test_a_key_names_facts_whatever_their_order():
    assert key({"a": "1", "b": "2"}) == key({"b": "2", "a": "1"}) != key({"a": "1", "b": "3"})
    assert len(key({})) == 16


def test_a_learned_state_is_found_in_the_data_folder_and_only_for_its_model(tiny, lm, tmp_path):
    method = E2P(tokens=2)
    assert state_of(tiny, method, tmp_path, "me") is None
    state = method.born(tiny, np.eye(8, 384, dtype=np.float32))
    path = state_path(tiny, method, tmp_path, "me")
    assert path.is_relative_to(tmp_path / "states" / "shared")
    keep(path, tiny, method, Trained(state, ((0, 1.0, 1.0),), 1.0, 1.0, 0.0, "all steps done"), Recipe(), {})
    found = state_of(tiny, method, tmp_path, "somebody else")
    assert found is not None
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert state_of(lm, method, tmp_path, "me") is None
    assert {p.suffix for p in path.parent.iterdir()} == {".safetensors", ".json", ".csv"}


def test_without_room_nothing_is_half_written_and_what_was_there_stays(tmp_path):
    path, facts = tmp_path / "state.safetensors", {"arm": "x"}
    save(path, {"w": torch.ones(3)}, facts)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # as a full disk: a write ends in an error
    try:
        with pytest.raises(StateError, match="free some space; what was there before stays"):
            save(path, {"w": torch.zeros(100_000)}, facts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert torch.equal(load(path, facts)["w"], torch.ones(3))


def test_a_wrapping_method_uses_the_state_of_what_it_wraps(tiny):
    assert facts_of(tiny, Retrieval(E2P())) == facts_of(tiny, E2P())
    assert learns(Retrieval(E2P()))
    assert not learns(Retrieval())


def test_what_learns_is_told_by_the_method_itself(tiny):
    assert {name for name, kind in METHODS.items() if learns(kind())} == {
        "e2p", "topics", "persoma", "cross_attention", "fitted", "lora", "dpo", "cope"
    }  # fmt: skip
    for method in ARMS.values():
        if not learns(method):
            assert state_of(tiny, method, PRETRAINED, "me") == {}


def test_what_came_with_palate_fits_the_embedded_model_and_has_its_provenance(lm, tmp_path):
    """Every shipped state loads, writes, and says where it came from and what it was worth."""
    import json

    shipped = sorted(PRETRAINED.glob("*-*.safetensors"))
    assert sum(path.stat().st_size for path in shipped) <= 32e6
    for path in shipped:
        method = (ARMS | BASES)[path.stem]
        state = state_of(lm, method, tmp_path, "me")
        assert state is not None
        assert {n: t.shape for n, t in state.items()} == {n: t.shape for n, t in _born(lm, method).items()}
        told = json.loads(path.with_suffix(".json").read_text())
        if path.stem in BASES:
            assert told["right"] < told["plain"] - 0.1, "it knows nobody, and jokes far better"
        else:
            assert told["gain"] > 1.96 * told["gain_error"], "what does not beat its wrong-user control is not shipped"
        assert {"recipe", "population", "plain", "held_out_before", "held_out_after", "commit", "judged"} <= told.keys()


def _born(lm, method):
    import numpy as np

    vectors = np.random.default_rng(0).normal(size=(50, 384)).astype(np.float32)
    return method.born(lm, vectors)


def test_what_is_fitted_is_ones_own_and_its_damage_is_told(tiny, profile, tmp_path):
    method = Fitted(E2P(tokens=3))
    assert "Train page" in missing(tiny, method, tmp_path, profile)
    path = state_path(tiny, method, tmp_path, profile.user)
    save(path, method.born(tiny, np.eye(8, 384, dtype=np.float32)), facts_of(tiny, method))
    assert missing(tiny, method, tmp_path, profile) is None
    assert missing(tiny, method, tmp_path, replace(profile, user="somebody else"))
    path.write_bytes(b"no state")
    assert "learn it anew" in missing(tiny, method, tmp_path, profile)
