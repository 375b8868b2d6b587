"""Ranks of one item among all: ties by their definition, the mean over all orders."""

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.recommend.ranking import Ranks, ranks


def by_all_orders(scores: list[int], target: int, k: int) -> tuple[float, float, float]:
    """NDCG@k, recall@k and MRR, each the mean over all orders in which no better item comes later."""
    found = []
    for order in permutations(range(len(scores))):
        if all(scores[a] >= scores[b] for a, b in pairwise(order)):
            rank = order.index(target) + 1
            found.append((1 / math.log2(rank + 1) if rank <= k else 0, float(rank <= k), 1 / rank))
    return tuple(np.mean(found, 0).tolist())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.integers(0, 5), st.integers(1, 4))
def test_metrics_are_the_mean_over_all_orders_of_what_ties(scores: list[int], target: int, k: int) -> None:
    target %= len(scores)
    found = ranks(np.array([scores], float), np.array([target]), [np.array([], int)])
    told = (found.ndcg(k)[0], found.recall(k)[0], found.mrr()[0])
    assert told == pytest.approx(by_all_orders(scores, target, k))


def test_literal_ranks() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.5], [0.0, 0.0, 0.0, 0.0]])
    found = ranks(scores, np.array([2, 0]), [np.array([], int), np.array([3])])
    assert found.ahead.tolist() == [1, 0]
    assert found.ties.tolist() == [1, 2]  # one as good; and of nothing but zeros the two others that are not known
    assert found.recall(2).tolist() == pytest.approx([1 / 2, 2 / 3])
    assert found.mrr().tolist() == pytest.approx([(1 / 2 + 1 / 3) / 2, (1 + 1 / 2 + 1 / 3) / 3])


def test_what_was_had_before_does_not_compete() -> None:
    scores = np.array([[3.0, 2.0, 1.0]])
    assert ranks(scores, np.array([2]), [np.array([0, 1])]).ahead.tolist() == [0]


def test_a_metric_of_many_is_the_same_one_by_one() -> None:
    both = Ranks(np.array([0, 12]), np.array([3, 0]))
    one = [Ranks(both.ahead[n : n + 1], both.ties[n : n + 1]) for n in range(2)]
    assert both.mrr().tolist() == pytest.approx([r.mrr()[0] for r in one])
    assert both.ndcg(10).tolist() == pytest.approx([r.ndcg(10)[0] for r in one])


@pytest.mark.parametrize(
    ("scores", "known", "words"),
    [([[1.0, math.nan]], [[]], "no number"), ([[1.0, 2.0]], [[0]], "has had the item")],
)
def test_what_cannot_be_ranked(scores: list[list[float]], known: list[list[int]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ranks(np.array(scores), np.array([0]), [np.array(had, int) for had in known])
