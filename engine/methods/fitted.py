"""Another method's state, taught further on one person's likes alone: the person's own soft tokens.

An arm of its own, so that votes on it are never mixed with votes on what the population taught.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.backbone import Backbone
from engine.methods.base import Ask, Conditioning, Method, State
from engine.methods.e2p import E2P
from engine.profile import Profile


@dataclass(frozen=True)
class Fitted(Method):
    name: ClassVar[str] = "fitted"
    title: ClassVar[str] = "soft tokens fitted to your likes alone"
    paper: ClassVar[str] = "own, after arXiv 2505.17051"

    inner: Method = field(default_factory=E2P)

    @property
    def personal(self) -> bool:
        return True

    @property
    def goes_on_from(self) -> Method:
        return self.inner

    def lacks(self, lm: Backbone, profile: Profile) -> str | None:
        return self.inner.lacks(lm, profile)

    def born(self, lm: Backbone, items: NDArray[np.float32]) -> State:
        return self.inner.born(lm, items)

    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        return self.inner.condition(lm, profile, state, ask)
