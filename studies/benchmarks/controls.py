"""How much better a method does with the right person than with somebody else's past.

A row and its control answer the same questions of the same people, so their difference has an interval of its own, over
people, from what was predicted in both cells. It is much surer than two intervals side by side.
"""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.recommend.ranking import Ranks
from studies.benchmarks.scores import WRONG, ratio, rouge, within_users

Row = dict[str, Any]
Served = dict[str, tuple[float, float]]  # person -> what was scored, of how much


def with_controls(benchmark: str, cells: Sequence[tuple[Mapping[str, Any], Row, Path]]) -> list[Row]:
    """The rows of these cells (what names it, its row, its predictions); one with a control among them has
    `over_wrong`, the difference of what it is judged by, and half of its 95 % interval."""
    of = {json.dumps(named, sort_keys=True): (row, path) for named, row, path in cells}
    rows = []
    for named, row, path in cells:
        control = of.get(json.dumps({**named, "method": f"{named['method']}{WRONG}"}, sort_keys=True))
        if control and benchmark in SERVED:
            mine, others = (SERVED[benchmark](r, list(_lines(p))) for r, p in ((row, path), control))
            more, half = difference(mine, others)
            row = {**row, "over_wrong": round(more, 5), "over_wrong_half": round(half, 5)}
        rows.append(row)
    return rows


def difference(mine: Served, others: Served) -> tuple[float, float]:
    """How much more of the same is scored, pooled over people, and half of its interval; people are the sample."""
    people = sorted(mine)
    counts = np.array([mine[person][1] for person in people])
    if people != sorted(others) or not np.array_equal(counts, [others[person][1] for person in people]):
        raise ValueError("a row and its control are not of the same questions: delete the work folder, run it again")
    return ratio(np.array([mine[person][0] - others[person][0] for person in people]), counts)


def _answered(row: Row, lines: Sequence[Sequence[Any]]) -> Served:
    """LaMP: lines are question, person, gold, said; texts are scored by ROUGE-L, labels by whether they are right."""
    gold, said = [line[2] for line in lines], [line[3] for line in lines]
    scored = rouge(gold, said)[:, 1] if "rougeL" in row else [a == b.strip() for a, b in zip(gold, said, strict=True)]
    served: Served = {}
    for line, score in zip(lines, scored, strict=True):
        total, count = served.get(line[1], (0.0, 0.0))
        served[line[1]] = (total + float(score), count + 1)
    return served


def _ordered(row: Row, lines: Sequence[Sequence[Any]]) -> Served:
    """Generation: lines are person, joke, score, liked; pairs of a liked and a disliked joke (and texts: no score)."""
    return _in_order([(line[0], line[3], line[2]) for line in lines if len(line) == 4])


def _likely(row: Row, lines: Sequence[Sequence[Any]]) -> Served:
    """Like prediction: lines are person, item, what it was worth to them, what was said of it."""
    return _in_order([(line[0], line[2], line[3]) for line in lines])


def _in_order(told: Sequence[tuple[Any, float, float]]) -> Served:
    """Of person, truth and score: how many of a person's pairs are put in the right order, of how many."""
    people = sorted({person for person, *_ in told})
    places = {person: n for n, person in enumerate(people)}
    user = np.array([places[person] for person, *_ in told], np.intp)
    truth, said = (np.array([line[place] for line in told], float) for place in (1, 2))
    hits, pairs = within_users(truth, said, user)
    return {str(person): (float(hits[n]), float(pairs[n])) for n, person in enumerate(people)}


def _found(row: Row, lines: Sequence[Sequence[Any]]) -> Served:
    """Next item: lines are person, item, how many are ahead, how many tie; scored by NDCG@10."""
    found = Ranks(*(np.array([line[place] for line in lines], np.int64) for place in (2, 3))).ndcg(10)
    return {line[0]: (float(score), 1.0) for line, score in zip(lines, found, strict=True)}


SERVED: dict[str, Callable[[Row, Sequence[Sequence[Any]]], Served]] = {
    "ctr": _likely,
    "lamp": _answered,
    "generation": _ordered,
    "movielens": _found,
}


def _lines(path: Path) -> Iterator[Any]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)
