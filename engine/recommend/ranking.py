"""How well a ranking of the whole catalogue finds the one item that comes next.

With equal scores the order is chance, so a metric is its mean over all orders of those that tie: a model that says the
same of everything gets what guessing gets, and not what the order of the file happens to give.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ranks:
    """For each of U people how many items have a higher score than theirs (U,), and how many others the same (U,)."""

    ahead: Places
    ties: Places

    def recall(self, k: int) -> Floats:
        """The share of orders that have the item among the first k (U,); with one item to find, the hit rate."""
        return np.clip((k - self.ahead) / (self.ties + 1), 0, 1)

    def ndcg(self, k: int) -> Floats:
        """1 / log2(1 + rank) within the first k, else 0 (U,): with one item to find, the ideal is 1."""
        return self._mean(1 / np.log2(np.arange(1, k + 1) + 1), k)

    def mrr(self) -> Floats:
        """1 / rank (U,)."""
        most = int((self.ahead + self.ties).max(initial=0)) + 1
        return self._mean(1 / np.arange(1, most + 1), most)

    def _mean(self, gains: Floats, k: int) -> Floats:
        """The mean gain of ranks ahead + 1 to ahead + ties + 1, where rank r <= k gains `gains[r - 1]`."""
        sums = np.concatenate([[0.0], np.cumsum(gains)])
        last = np.minimum(self.ahead + self.ties + 1, k)
        return np.asarray((sums[last] - sums[np.minimum(self.ahead, k)]) / (self.ties + 1))


def ranks(scores: Floats, targets: Places, known: Sequence[Places]) -> Ranks:
    """Rank each person's target among all items, (U, N), but those of `known`, which this person had before.

    Raises ValueError for a score that is no number, and for a target that is known.
    """
    left_out = scores.copy()
    for row, items in enumerate(known):
        left_out[row, items] = -np.inf
    own = left_out[np.arange(len(targets)), targets][:, None]  # (U, 1)
    if np.isnan(scores).any():
        raise ValueError("a score is no number")
    if np.isneginf(own).any():
        raise ValueError("somebody has had the item that they are to be shown")
    return Ranks((left_out > own).sum(1), (left_out == own).sum(1) - 1)
