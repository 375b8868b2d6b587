"""Best of n: several texts are drawn, and the one nearest to the person's taste is kept.

What chooses is the recommender that ranks the feed: the dot product with the person's taste, in the encoder's space
(`engine.recommend.taste.nearness`). Choosing is easier than writing (arXiv 2406.10522).
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
from engine.recommend.taste import nearness


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
        def score(texts: Sequence[str]) -> NDArray[np.floating]:
            return nearness(profile, encode(texts))  # (n,)

        told = self.inner.condition(lm, profile, state, ask)
        evidence = told.evidence or tuple(item.id for item in profile.liked)
        return replace(told, score=Score(score, self.samples), evidence=evidence)
