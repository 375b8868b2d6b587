"""What a softmax in two levels saves over one softmax of all items: a step of learning, and the ten likeliest items.

The items are made: unit vectors of 384 numbers around as many centres as there are clusters. A query is an item with
noise, drawn out so far that the items have this perplexity (N: nothing is known; the more is known, the fewer clusters
can hold one of the ten). Each figure is the median of several in one process of its own, which counts memory.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from engine.optimise import Recipe, adam
from engine.recommend.clusters import Catalogue, catalogue, standard
from engine.recommend.hierarchy import Table, flat_losses, log_p, losses, top
from studies.benchmarks.runs import alone, peak_mb, tell

SIZES = (10_000, 100_000, 1_000_000)
WIDTH, ROWS, K = 384, 64, 10  # of a vector; targets of a step; items that are wanted
KNOWN = (1, 10, 100, 1000)  # the perplexity is N divided by this
TIMES = 5
Figures = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Print a row for each number of items."""
    options = _parser().parse_args(arguments)
    for row in run(options.items):
        tell(row, options.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m studies.benchmarks hierarchy", description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=SIZES, help="how many items")
    parser.add_argument("--json", action="store_true", help="each row as one JSON line")
    return parser


def run(sizes: Sequence[int] = SIZES) -> Iterator[Figures]:
    """A row for each number of items."""
    for size in sizes:
        row: Figures = {"items": size, "clusters": standard(size)}
        for part in (_learn_in_two, _learn_in_one, _rank):
            row |= alone(part, size)
        row["step_times_cheaper"] = round(row["flat_step"] / row["step"], 1)
        row |= {f"top_times_cheaper_{k}": round(row["flat_top"] / row[f"top_{k}"], 1) for k in KNOWN}
        yield row


def _learn_in_two(size: int) -> Figures:
    items, before = _items(size), peak_mb()
    table = _table(items, sparse=True)
    seconds = _steps(table, lambda q, targets: losses(q, targets, table), sparse={"items"})
    return {"step": seconds, "step_mb": peak_mb() - before}


def _learn_in_one(size: int) -> Figures:
    items, before = Catalogue(("",) * size, _vectors(size), np.array([0, size])), peak_mb()
    table = _table(items, sparse=False)
    seconds = _steps(table, lambda q, targets: flat_losses(q, targets, table), sparse=set())
    return {"flat_step": seconds, "flat_step_mb": peak_mb() - before}


def _steps(table: Table, lost: Callable[..., torch.Tensor], sparse: set[str]) -> float:
    """The median seconds of a step: loss, gradients, Adam."""
    live = {"items": table.items.requires_grad_(), "clusters": table.clusters.requires_grad_()}
    optimizers = adam(live, Recipe(), sparse=sparse)
    dice, took = np.random.default_rng(0), []
    for _ in range(TIMES + 1):
        q = torch.from_numpy(dice.normal(size=(ROWS, WIDTH + 1)).astype(np.float32)).requires_grad_()
        targets = torch.from_numpy(dice.integers(0, len(table.items), ROWS))
        before = time.perf_counter()
        for one in optimizers:
            one.zero_grad(set_to_none=True)
        lost(q, targets).mean().backward()
        for one in optimizers:
            one.step()
        took.append(time.perf_counter() - before)
    return round(statistics.median(took[1:]), 4)  # the first makes room


def _rank(size: int) -> Figures:
    items = _items(size)
    table, found = _table(items, sparse=False), Figures()
    dice = np.random.default_rng(1)
    near = [items.vectors[n] + dice.normal(size=WIDTH) * WIDTH**-0.5 for n in dice.integers(0, size, TIMES)]
    for known in KNOWN:
        queries = [_drawn_out(vector, table, size / known) for vector in near]
        took, all_took = [], []
        for q in queries:
            before = time.perf_counter()
            fast = top(q, table, K)[1]
            between = time.perf_counter()
            slow = torch.log_softmax(table.items @ q, 0).topk(K)[0]
            all_took.append(time.perf_counter() - between)
            took.append(between - before)
            if not torch.allclose(fast, log_p(q[None], table)[0].topk(K)[0], atol=1e-4):
                raise ValueError(f"the fast order is not that of brute force: {fast} {slow}")
        found[f"top_{known}"] = round(statistics.median(took), 5)
        found["flat_top"] = round(statistics.median(all_took), 5)
    return found


def _drawn_out(vector: np.ndarray, table: Table, perplexity: float) -> torch.Tensor:
    """The query in this direction under which the items have this perplexity."""
    low, high = 0.0, 400.0
    q = torch.zeros(WIDTH + 1)
    for _ in range(20):
        q = torch.from_numpy(np.append(vector * (low + high) / 2, 1).astype(np.float32))
        said = log_p(q[None], table)[0]
        low, high = (low, (low + high) / 2) if -float((said.exp() * said).sum()) < np.log(perplexity) else (
            (low + high) / 2, high)  # fmt: skip
    return q


def _vectors(size: int) -> np.ndarray:
    dice = np.random.default_rng(0)
    centres = dice.normal(size=(standard(size), WIDTH)).astype(np.float32)
    found = centres[dice.integers(0, len(centres), size)]
    for start in range(0, size, 100_000):  # noise piece by piece: numpy makes it in float64
        part = found[start : start + 100_000]
        part += dice.normal(size=part.shape)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return found


def _items(size: int) -> Catalogue:
    return catalogue([str(n) for n in range(size)], _vectors(size))


def _table(items: Catalogue, *, sparse: bool) -> Table:
    """Vectors without a bias; clusters at their middles, each as likely as it is large."""
    rows = torch.nn.functional.pad(torch.from_numpy(items.vectors), (0, 1))
    sizes = torch.log(torch.from_numpy(items.sizes).float())[:, None]
    return Table(rows, torch.cat([torch.from_numpy(items.middles), sizes], 1), tuple(items.starts.tolist()), sparse)
