"""Best of n: several texts are drawn, and the one nearest to the person's taste is kept.

The scorer is the dot product of the text and the mean of the person's likes, less that of their dislikes, in the
encoder's space: the plainest recommender. Choosing is easier than writing (arXiv 2406.10522).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.backbone import Backbone
from engine.encoder import encode
from engine.methods.base import Ask, Conditioning, Method, Score, State
from engine.methods.none import NoProfile
from engine.methods.parts import needs_likes
from engine.profile import Profile


@dataclass(frozen=True)
class Reranked(Method):
    name: ClassVar[str] = "reranked"
    title: ClassVar[str] = "the nearest to your taste of several tries"
    paper: ClassVar[str] = "own, best of n"

    inner: Method = field(default_factory=NoProfile)
    samples: int = 4

    @property
    def learned_as(self) -> Method:
        return self.inner.learned_as

    @property
    def personal(self) -> bool:
        return self.inner.personal

    def lacks(self, lm: Backbone, profile: Profile) -> str | None:
        return needs_likes(profile) or self.inner.lacks(lm, profile)

    def born(self, lm: Backbone, items: NDArray[np.float32]) -> State:
        return self.inner.born(lm, items)

    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        taste = _direction(profile)

        def nearness(texts: Sequence[str]) -> NDArray[np.floating]:
            return encode(texts) @ taste  # (n,)

        told = self.inner.condition(lm, profile, state, ask)
        evidence = told.evidence or tuple(item.id for item in profile.liked)
        return replace(told, score=Score(nearness, self.samples), evidence=evidence)


def _direction(profile: Profile) -> NDArray[np.float32]:
    """(E,) what the person likes, less what they dislike."""
    signs = np.array([signal.sign for signal in profile.signals])
    likes, dislikes = profile.vectors[signs > 0].mean(0), profile.vectors[signs < 0]
    return np.asarray(likes - (dislikes.mean(0) if len(dislikes) else 0), np.float32)
