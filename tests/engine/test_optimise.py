"""The loop of learning, on numbers: rates, sparse gradients, what is kept."""

import math

import pytest
import torch
from torch.nn import functional

from engine.methods.base import State
from engine.optimise import Recipe, TrainError, optimise
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
