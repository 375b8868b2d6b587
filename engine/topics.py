"""Topics as they come: leader clustering of item vectors, with a threshold that the encoder in use calibrates."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from engine import encoder

QUANTILE = 0.97  # of the similarity of random pairs: what only three pairs of a hundred reach is no accident
PAIRS = 20_000
UNRELATED_QUANTILE = 0.87  # of the texts below; with the embedded encoder a cosine of .2 (log 2026-11-21)
UNRELATED = (
    "My cat opens every door in the house except the one it wants opened.",
    "The bank called to ask why I had so little; I asked them the same.",
    "Our train left on time, so nobody was on it.",
    "I planted tomatoes and grew a fence.",
    "The dentist said I should floss, and I said he should listen.",
    "Grandmother beat the chess computer by unplugging it.",
    "It rained on the one day we washed the car.",
    "My phone knows where I am and will not tell me why.",
    "The orchestra tuned for an hour and then went home.",
    "He ran a marathon once, by accident, behind a bus.",
    "Our teacher marks in green now, because red felt like blood.",
    "The mayor opened a bridge that leads to the next election.",
    "I bought a desk from a box with four hundred screws and one regret.",
    "The soup was cold, the waiter was warm, we left a tip for both.",
    "A spider has moved into the shower and pays no rent.",
    "The goalkeeper dived left, the ball went home.",
    "My code works, and nobody knows who to blame.",
    "The priest lost his place and we all got up early.",
    "She dates a geologist; he takes her for granite.",
    "The hotel had five stars, all of them visible through the roof.",
    "Our baby sleeps in shifts, mostly ours.",
    "The museum shows an empty frame, insured for millions.",
    "I joined a gym to be near the vending machine.",
    "The king's new clothes went straight to the dry cleaner.",
)


class Clusters:
    """Leader clustering, one vector (E,) at a time: the same clusters whether all come at once or one by one.

    A vector joins the cluster to which its mean cosine is highest, if that reaches `least` (average linkage, asked
    once), or leads a new one. Of more than `most` clusters no further one is led: what fits none has none.
    """

    def __init__(self, width: int, least: float, most: int) -> None:
        self.least = least
        self.sums = np.zeros((most, width), np.float32)  # of the members' vectors
        self.sizes = np.zeros(most, np.int64)
        self.count = 0

    def add(self, vector: NDArray[np.float32]) -> int:
        """The number of the cluster that it joins, -1 for none."""
        near = self.sums[: self.count] @ vector / self.sizes[: self.count]
        best = int(near.argmax()) if self.count else -1
        if best < 0 or near[best] < self.least:
            if self.count == len(self.sums):
                return -1
            best = self.count
            self.count += 1
        self.sums[best] += vector
        self.sizes[best] += 1
        return best


@dataclass(frozen=True, eq=False)
class Leader:
    """One topic: the mean direction of its members (E,), and which rows these are, in the order they came."""

    centre: NDArray[np.float32]
    rows: tuple[int, ...]


def threshold(vectors: NDArray[np.float32], quantile: float = QUANTILE, seed: int = 0) -> float:
    """The similarity that a share `quantile` of random pairs of `vectors` (N, E) stays under.

    A constant would mean something else for each encoder: unrelated texts have a cosine of .05 with one and .7 with
    another.
    """
    dice = np.random.default_rng(seed)
    a, b = dice.integers(len(vectors), size=(2, PAIRS))
    different = a != b
    return float(np.quantile((vectors[a[different]] * vectors[b[different]]).sum(1), quantile))


def unrelated() -> float:
    """The cosine that texts about different things seldom reach with the encoder in use."""
    return _unrelated(encoder.NAME)


@cache
def _unrelated(_encoder: str) -> float:
    return threshold(encoder.encode(UNRELATED), UNRELATED_QUANTILE)


def leaders(vectors: NDArray[np.float32], least: float) -> list[Leader]:
    """One pass over `vectors` (N, E), unit length: each joins the nearest topic if its cosine to the centre reaches
    `least`, which then moves to the running mean, or leads a new one. Largest first, of equals the latest."""
    sums: list[NDArray[np.float32]] = []
    members: list[list[int]] = []
    for row, vector in enumerate(vectors):
        if sums:
            centres = np.stack(sums)
            near = centres @ vector / np.linalg.norm(centres, axis=1).clip(1e-9)
            best = int(near.argmax())
            if near[best] >= least:
                sums[best] = sums[best] + vector
                members[best].append(row)
                continue
        sums.append(vector.copy())
        members.append([row])
    order = sorted(range(len(sums)), key=lambda c: (-len(members[c]), -members[c][-1]))
    return [Leader(_unit(sums[c]), tuple(members[c])) for c in order]


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
