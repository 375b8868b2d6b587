"""Items as tokens of a language model: what it reads, what it loses, and that it learns what follows what."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.backbone import Backbone
from engine.methods.base import State
from engine.optimise import Progress, Recipe, TrainError
from engine.recommend import item_lm
from engine.recommend.clusters import catalogue
from engine.recommend.hierarchy import Softness
from engine.recommend.item_lm import (
    ItemLM,
    Places,
    Shop,
    born,
    codes,
    facts_of,
    grown,
    lost,
    scores,
    teach,
    with_backbone,
)
from engine.recommend.ranking import ranks
from engine.state import StateError, load, save

ITEMS, WIDTH = 30, 16
PLAIN = ItemLM(hidden=32, dropout=0.0)


@pytest.fixture(scope="module")
def shop() -> Shop:
    vectors = np.random.default_rng(0).normal(size=(ITEMS, WIDTH)).astype(np.float32)
    items = catalogue([f"film {n}" for n in range(ITEMS)], vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 5)
    return Shop(items, np.arange(ITEMS), tuple(f"Film {item}" for item in items.ids))


def told(*histories: list[int]) -> list[Places]:
    return [np.array(history, np.int64) for history in histories]


def moved(state: State, seed: int = 0) -> State:
    """As if it had learned something: no layer is zero any more."""
    dice = torch.Generator().manual_seed(seed)
    return {name: tensor + 0.1 * torch.randn(tensor.shape, generator=dice) for name, tensor in state.items()}


# ---- at birth


@pytest.mark.parametrize("model", ["tiny", "lm"])
def test_what_has_learned_nothing_ranks_by_popularity(model: str, request: pytest.FixtureRequest, shop: Shop) -> None:
    lm: Backbone = request.getfixturevalue(model)
    found = scores(lm, PLAIN, shop, born(lm, PLAIN, shop), told([3, 4], [], [7] * 80))
    expected = np.log((shop.counts + 1) / (shop.counts + 1).sum())
    assert found == pytest.approx(np.repeat(expected[None], 3, 0), abs=1e-5)


def test_a_lora_begins_as_nothing_and_a_backbone_as_itself(tiny: Backbone, shop: Shop) -> None:
    state = moved(born(tiny, PLAIN, shop))
    before = scores(tiny, PLAIN, shop, state, told([1, 2, 3]))
    for tuning in ("lora", "full"):
        method = replace(PLAIN, tuning=tuning)
        more = with_backbone(tiny, method, state)
        assert len(more) > len(state)
        assert scores(tiny, method, shop, more, told([1, 2, 3])) == pytest.approx(before, abs=1e-5)


# ---- what is read and lost


def test_items_stand_among_tokens_of_text(tiny: Backbone, shop: Shop) -> None:
    head = tiny.tokens(PLAIN.told)
    assert codes(tiny, PLAIN, shop, np.array([4, 0])) == [*head, ~4, ~0]
    titled = codes(tiny, replace(PLAIN, titled=True, longest=1), shop, np.array([4, 0]))
    assert titled == [*head, *tiny.tokens(f" {shop.texts[0]}"), ~0]


@pytest.mark.parametrize("tuning", ["frozen", "lora", "full"])
def test_all_probabilities_sum_to_one_and_no_row_knows_of_another(tiny: Backbone, shop: Shop, tuning: str) -> None:
    method = replace(PLAIN, tuning=tuning)
    state = moved(with_backbone(tiny, method, born(tiny, method, shop)))
    histories = told([1, 2, 3, 4, 5, 6], [9], [], [8, 8])
    together = scores(tiny, method, shop, state, histories)
    assert np.exp(together).sum(1) == pytest.approx(np.ones(4), abs=1e-5)
    alone = [scores(tiny, method, shop, state, [history])[0] for history in histories]
    assert together == pytest.approx(np.array(alone), abs=1e-4)
    assert not np.allclose(together[0], together[1])


def test_what_is_lost_is_what_is_said_of_each_item_in_turn(tiny: Backbone, shop: Shop) -> None:
    state, history = moved(born(tiny, PLAIN, shop)), [5, 9, 2, 29]
    found = lost(tiny, PLAIN, shop.items, state, [codes(tiny, PLAIN, shop, np.array(history))])
    said = scores(tiny, PLAIN, shop, state, told(*(history[:n] for n in range(4))))
    assert found.tolist() == pytest.approx([-said[n, item] for n, item in enumerate(history)], abs=1e-4)


def test_words_are_foretold_where_they_are_wanted_and_cost_items_their_share(tiny: Backbone, shop: Shop) -> None:
    titled = replace(PLAIN, titled=True)
    both = replace(titled, words=True)
    state, sequence = moved(born(tiny, titled, shop)), codes(tiny, titled, shop, np.array([5, 9]))
    without, found = (lost(tiny, method, shop.items, state, [sequence]) for method in (titled, both))
    words = sum(len(tiny.tokens(f" {shop.texts[n]}")) for n in (5, 9))
    assert (len(without), len(found)) == (2, 2 + words)
    assert (found[:2] > without).all()
    assert not torch.allclose(lost(tiny, replace(both, softness=Softness(0.1)), shop.items, state, [sequence]), found)


# ---- learning


def follows(people: int, seed: int) -> list[Places]:
    """After item n comes n + 1, from any beginning."""
    starts = np.random.default_rng(seed).integers(0, ITEMS, people)
    return [(start + np.arange(8)) % ITEMS for start in starts]


def held_out(seed: int) -> list[tuple[Places, int]]:
    return [(history[:-1], int(history[-1])) for history in follows(40, seed)]


RECIPE = Recipe(steps=120, batch=16, accumulate=1, lr=1e-2, evaluate_every=40)


def found_first(
    lm: Backbone, method: ItemLM, shop: Shop, state: State, known: list[Places], targets: list[int]
) -> float:
    said = scores(lm, method, shop, state, known)
    return float(ranks(said, np.array(targets), [np.array([], np.int64)] * len(targets)).recall(1).mean())


@pytest.mark.parametrize("tuning", ["frozen", "lora", "full"])
def test_it_learns_what_follows_what_and_the_models_own_weights_stay(tiny: Backbone, shop: Shop, tuning: str) -> None:
    method, plain = replace(PLAIN, tuning=tuning), {n: p.clone() for n, p in tiny.model.named_parameters()}
    birth = with_backbone(tiny, method, born(tiny, method, shop))
    out = teach(tiny, method, shop, birth, follows(200, 0), held_out(1), RECIPE)
    known, targets = [had for had, _ in held_out(2)], [target for _, target in held_out(2)]
    assert found_first(tiny, method, shop, birth, known, targets) < 0.2
    assert found_first(tiny, method, shop, out.state, known, targets) > 0.8
    assert found_first(tiny, method, shop, out.state, [*known[1:], known[0]], targets) < 0.2  # somebody else's past
    assert -out.after == pytest.approx(1.0, abs=0.1)  # NDCG@10
    assert all(torch.equal(p, plain[name]) for name, p in tiny.model.named_parameters())


def test_a_killed_run_goes_on_where_it_was(tiny: Backbone, shop: Shop, tmp_path: Path) -> None:
    birth, path = born(tiny, PLAIN, shop), tmp_path / "state.checkpoint"
    recipe = replace(RECIPE, steps=9, evaluate_every=3)
    whole = teach(tiny, PLAIN, shop, birth, follows(50, 0), held_out(1), recipe)

    def kill(progress: Progress) -> None:
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        teach(tiny, PLAIN, shop, birth, follows(50, 0), held_out(1), recipe, checkpoint=path, on_progress=kill)
    again = teach(tiny, PLAIN, shop, birth, follows(50, 0), held_out(1), recipe, checkpoint=path)
    assert [loss for _, loss, _ in again.curve[1:]] == pytest.approx([loss for _, loss, _ in whole.curve[1:]])
    assert all(torch.allclose(again.state[name], whole.state[name]) for name in whole.state)
    assert not path.exists()


# ---- new items, other catalogues


def test_a_new_item_is_read_and_ranked_by_its_text_alone(tiny: Backbone, shop: Shop) -> None:
    state, twin = moved(born(tiny, PLAIN, shop)), 11
    state["items"][twin] = torch.cat([torch.from_numpy(shop.items.vectors[twin]), torch.zeros(1)])  # as it was born
    items, old = shop.items.joined(["new"], shop.items.vectors[twin : twin + 1])
    new = int(items.numbers(["new"])[0])
    texts = dict(zip(shop.items.ids, shop.texts, strict=True)) | {"new": "New"}
    larger = Shop(items, np.zeros(len(items), np.int64), tuple(texts[item] for item in items.ids))
    more = grown(state, old, items)
    assert torch.equal(more["items"][torch.from_numpy(old)], state["items"])
    after = scores(tiny, PLAIN, larger, more, [np.array([new, old[3]]), np.array([old[twin], old[3]])])
    assert after[0] == pytest.approx(after[1])  # read as its twin is
    if items.cluster[new] == items.cluster[old[twin]]:
        assert after[:, new] == pytest.approx(after[:, old[twin]])  # and as likely
    assert np.exp(after).sum(1) == pytest.approx(np.ones(2), abs=1e-5)


def test_a_state_of_another_catalogue_is_refused(tiny: Backbone, shop: Shop, tmp_path: Path) -> None:
    path, facts = tmp_path / "item_lm.safetensors", facts_of(tiny, PLAIN, shop.items)
    save(path, born(tiny, PLAIN, shop), facts)
    assert load(path, facts).keys() == born(tiny, PLAIN, shop).keys()
    larger, _ = shop.items.joined(["new"], shop.items.vectors[:1])
    with pytest.raises(StateError, match="another catalogue"):
        load(path, facts_of(tiny, PLAIN, larger))


# ---- what cannot be


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (
            lambda lm, shop: teach(lm, PLAIN, shop, born(lm, PLAIN, shop), told([]), held_out(1), RECIPE),
            "nothing to learn",
        ),
        (lambda lm, shop: teach(lm, PLAIN, shop, born(lm, PLAIN, shop), follows(5, 0), [], RECIPE), "nothing to learn"),
        (
            lambda lm, shop: codes(lm, replace(PLAIN, longest=4000), shop, np.zeros(4000, int)),
            "reads 2048, lower `longest`",
        ),
    ],
)
def test_what_cannot_be_is_said(
    tiny: Backbone, shop: Shop, broken: Callable[[Backbone, Shop], object], words: str
) -> None:
    with pytest.raises(TrainError, match=words):
        broken(tiny, shop)


def test_a_quantised_backbone_does_not_learn_whole(tiny: Backbone, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "plan", replace(tiny.plan, quantization="nf4"))
    with pytest.raises(TrainError, match="choose lora"):
        with_backbone(tiny, replace(PLAIN, tuning="full"), {})


def test_the_best_are_the_first_of_all(tiny: Backbone, shop: Shop) -> None:
    state, history = moved(born(tiny, PLAIN, shop)), np.array([1, 2, 3])
    [all_of_them] = scores(tiny, PLAIN, shop, state, [history])
    all_of_them[history] = -np.inf
    ids, said = item_lm.best(tiny, PLAIN, shop, state, history, 7)
    order = np.argsort(-all_of_them, kind="stable")[:7]
    assert ids == [shop.items.ids[n] for n in order]
    assert said == pytest.approx(all_of_them[order], abs=1e-5)


@pytest.mark.parametrize("wrong", [-1, ITEMS])
def test_an_item_outside_the_table_is_named(tiny: Backbone, shop: Shop, wrong: int) -> None:
    with pytest.raises(TrainError, match=f"the {ITEMS} items are numbered from 0"):
        codes(tiny, PLAIN, shop, np.array([2, wrong]))


def test_more_items_than_memory_holds_are_refused_beforehand(
    tiny: Backbone, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_lm.memory, "free", lambda: 1000)
    state, told_of = born(tiny, PLAIN, shop), told([1, 2, 3])
    with pytest.raises(TrainError, match=r"learning 30 items needs .* GB .* choose a smaller batch"):
        teach(tiny, PLAIN, shop, state, told_of, [(told_of[0], 4)], Recipe(steps=1))
