"""CoPe: the person's model contrasted with one that does not know the person, token by token (arXiv 2506.12109,
section 3.3).

Every token is scored log p_expert - lambda log p_amateur, among those that the expert gives at least a tenth of its
best token's probability: what only the person's model likes is written, what any model likes is written less. It is not
trained: it uses what its expert has learned.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.backbone import Backbone, Facility
from engine.methods.base import Ask, Conditioning, Contrast, Method, State
from engine.methods.lora import LoRA
from engine.methods.none import NoProfile
from engine.profile import Profile


@dataclass(frozen=True)
class CoPe(Method):
    name: ClassVar[str] = "cope"
    title: ClassVar[str] = "what sets your adapter apart, word by word"
    paper: ClassVar[str] = "arXiv 2506.12109 (CoPe)"
    asks: ClassVar[tuple[Facility, ...]] = ("contrast",)

    expert: Method = field(default_factory=LoRA)
    amateur: Method = field(
        default_factory=NoProfile
    )  # one that learns nothing: the task-adapted model, where it stands
    weight: float = 0.1  # lambda
    plausibility: float = 0.1  # alpha

    @property
    def learned_as(self) -> Method:
        return self.expert.learned_as

    @property
    def personal(self) -> bool:
        return self.expert.personal

    def lacks(self, lm: Backbone, profile: Profile) -> str | None:
        return self.expert.lacks(lm, profile) or self.amateur.lacks(lm, profile)

    def born(self, lm: Backbone, items: NDArray[np.float32]) -> State:
        return self.expert.born(lm, items)

    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        amateur = self.amateur.condition(lm, profile, {}, ask)
        expert = self.expert.condition(lm, profile, state, ask)
        return replace(expert, contrast=Contrast(amateur, self.weight, self.plausibility))
