"""What the rows of several benchmarks share: which are wanted, who stands in for whom, the model, when to stop."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from torch import nn

from engine.backbone import Backbone
from studies.benchmarks.runs import CannotRun, Cell
from studies.benchmarks.scores import WRONG

ALL = ("all",)


def of_methods(cells: Iterable[Cell], methods: Sequence[str]) -> list[Cell]:
    """The cells of these methods, their controls among them; of every one for "all". Raises CannotRun for a name that
    no cell has."""
    if "all" in methods and len(methods) > 1:
        raise CannotRun('"all" is every method: name it alone, or name others')
    told = [(cell, str(cell.of["method"]).removesuffix(WRONG)) for cell in cells]
    known = dict.fromkeys(name for _, name in told)
    if unknown := [name for name in methods if name not in (*known, *ALL)]:
        raise CannotRun(f"{unknown[0]!r} is no method here: use all, {', '.join(known)}")
    return [cell for cell, name in told if name in methods or "all" in methods]


def at_least_one(settings: Any, *names: str) -> None:
    """Raise CannotRun for a setting of these names under 1."""
    for name in names:
        if getattr(settings, name) < 1:
            raise CannotRun(f"{name} is {getattr(settings, name)}: take 1 at least")


def circle(people: int, key: Sequence[int]) -> list[int]:
    """Who stands in for each of so many: everybody once, the next of a circle drawn by the key. Raises CannotRun."""
    if people < 2:
        raise CannotRun("the wrong-person control needs at least two people: judge more of them")
    order = np.random.default_rng(key).permutation(people)
    other = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
    return [other[n] for n in range(people)]


@cache
def model(name: str) -> Backbone:
    """The model of a benchmark's settings, loaded once; "" is the embedded one."""
    return Backbone.load(name or None)


def kept_best(
    module: nn.Module, learn: Callable[[], None], judged: Callable[[], float], looks: int, patience: int
) -> float:
    """Learn and look, at most so many times, until `patience` looks were no better; the module is left as it was best,
    and how good that was is returned."""
    best, state, stale = -1.0, {}, 0
    for _ in range(looks):
        module.train()
        learn()
        found, stale = judged(), stale + 1
        if found > best:
            best, state, stale = found, {k: v.clone() for k, v in module.state_dict().items()}, 0
        if stale >= patience:
            break
    module.load_state_dict(state)
    return best
