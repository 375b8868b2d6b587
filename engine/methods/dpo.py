"""DPO: the person's adapter taught further to prefer what they like to what the model would write for anybody
(arXiv 2305.18290; CoPe, arXiv 2506.12109, section 3.2).

The rejected texts are drawn from the model without the person, the least personal of three by the implicit reward; what
the person disliked stands beside what they liked as well.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from engine.backbone import Backbone
from engine.methods.base import Ask, Conditioning, Method, State
from engine.methods.lora import LoRA
from engine.profile import Profile


@dataclass(frozen=True)
class DPO(Method):
    name: ClassVar[str] = "dpo"
    title: ClassVar[str] = "your adapter, refined by what you would not like"
    paper: ClassVar[str] = "arXiv 2305.18290 (DPO), 2506.12109 (CoPe)"

    start: Method = field(default_factory=LoRA)
    beta: float = 0.01
    # What the policy is held to. CoPe names none, so its library takes the adapter off and holds it to the base.
    reference: Literal["start", "base"] = "start"
    negatives: Literal["max", "min"] = "max"

    @property
    def personal(self) -> bool:
        return True

    @property
    def goes_on_from(self) -> Method:
        return self.start

    def lacks(self, lm: Backbone, profile: Profile) -> str | None:
        return self.start.lacks(lm, profile)

    def born(self, lm: Backbone, items: NDArray[np.float32]) -> State:
        return self.start.born(lm, items)

    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        return self.start.condition(lm, profile, state, ask)
