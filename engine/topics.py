"""Topics as they come: leader clustering of item vectors, with a threshold that the encoder in use calibrates."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

QUANTILE = 0.97  # of the similarity of random pairs: what only three pairs of a hundred reach is no accident
PAIRS = 20_000


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
