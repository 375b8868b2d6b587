"""How much will this person like each of these texts: one question, asked of the plainest recommender and the dearest.

A scorer gives N texts N numbers, the higher the sooner liked. Those of two scorers, or for two people, cannot be
compared. What ranks the feed also chooses among generated samples and judges pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine import encoder
from engine.profile import Profile

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Texts:
    """N texts that may be shown, and the vectors of them (N, E) as `engine.encoder` makes them."""

    texts: tuple[str, ...]
    vectors: Floats

    def __len__(self) -> int:
        return len(self.texts)


def encoded(texts: Sequence[str]) -> Texts:
    return Texts(tuple(texts), encoder.encode(texts))


class Scorer(Protocol):
    """Whatever says how much a person will like each text; it may wait for the model's lock."""

    def score(self, profile: Profile, items: Texts) -> Floats:
        """(N,) for N texts."""
