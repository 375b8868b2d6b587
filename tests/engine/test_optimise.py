"""The loop of learning, on numbers: rates, sparse gradients, what is kept."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from engine.methods.base import State
from engine.optimise import Progress, Recipe, TrainError, optimise
from engine.recommend import inside

ONE = Recipe(steps=1, lr=0.01, warmup=0.0, weight_decay=0.0, evaluate_every=1)


def pulled(live: State, step: int) -> float:
    """A gradient of one sign on all that is looked up."""
    rows = functional.embedding(torch.tensor([1, 1, 3]), live["table"], sparse=True)
    loss = rows.sum() + live["slow"].sum() + live["fast"].sum()
    loss.backward()
    return float(loss.detach())


def state() -> State:
    return {"table": torch.zeros(5, 2), "slow": torch.zeros(3), "fast": torch.zeros(3)}


def test_tensors_learn_at_their_rates_and_of_a_table_the_rows_that_were_read() -> None:
    out = optimise(
        state(),
        pulled,
        lambda s: float(s["fast"].detach().sum()),
        ONE,
        rate=lambda n: 0.1 if n == "slow" else 1.0,
        sparse={"table"},
    )
    assert out.state["fast"].tolist() == pytest.approx([-0.01] * 3)  # the first step of Adam is the rate
    assert out.state["slow"].tolist() == pytest.approx([-0.001] * 3)
    assert out.state["table"][[1, 3]].flatten().tolist() == pytest.approx([-0.01] * 4)
    assert not out.state["table"][[0, 2, 4]].any()


def test_what_item_lm_learns_inside_the_backbone_learns_at_a_tenth() -> None:
    rates = {name: inside.rate(name) for name in ("items", "out.1.weight", "lora.0.q.a", "weights.norm.weight")}
    assert rates == {"items": 1.0, "out.1.weight": 1.0, "lora.0.q.a": 0.1, "weights.norm.weight": 0.1}


def test_a_loss_that_is_no_number_ends_before_it_is_learned() -> None:
    with pytest.raises(TrainError, match="smaller --lr"):
        optimise(state(), lambda live, step: math.nan, lambda s: 0.0, ONE)


def test_what_was_learned_is_looked_at_before_it_is_judged() -> None:
    """A loss can be a number after which nothing is one any more."""

    def bursting(live: State, step: int) -> float:
        for tensor in live.values():
            tensor.grad = torch.full_like(tensor, math.inf)
        return 1.0

    judged: list[State] = []

    def judge(learned: State) -> float:
        judged.append(learned)
        return 0.0

    with pytest.raises(TrainError, match="smaller --lr"):
        optimise(state(), bursting, judge, ONE)
    assert len(judged) == 1  # as it began


def test_a_checkpoint_fits_what_it_began_as(tmp_path: Path) -> None:
    path, looks = tmp_path / "kept", []

    def told(progress: Progress) -> None:
        looks.append(progress.step)
        if len(looks) == 2:
            raise KeyboardInterrupt

    recipe = replace(ONE, steps=4)
    with pytest.raises(KeyboardInterrupt):
        optimise(state(), pulled, lambda s: 0.0, recipe, sparse={"table"}, checkpoint=path, on_progress=told)
    assert path.exists()
    other = state() | {"slow": torch.ones(3)}
    with pytest.raises(TrainError, match="another recipe or beginning"):
        optimise(other, pulled, lambda s: 0.0, recipe, sparse={"table"}, checkpoint=path)
    done = optimise(state(), pulled, lambda s: 0.0, recipe, sparse={"table"}, checkpoint=path)
    assert [step for step, *_ in done.curve] == [0, 1, 2, 3, 4]
