"""No alignment: the floor. The model is asked, and told nothing about the person.

Several prompts stand as arms of their own, so that a method has to beat the best of them and not just the
clumsiest: a profile that only helps because its prompt is longer or better put would win otherwise.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from engine.backbone import Backbone
from engine.methods.base import Ask, Conditioning, Method, State
from engine.profile import Profile

PROMPTS = {
    "plain": None,
    "comedian": "You are a quick stand-up comedian. You are concrete, never explain a joke, and end on the twist.",
    "observer": "You notice the small absurdities of everyday life and put them in dry, plain words.",
}


@dataclass(frozen=True)
class NoProfile(Method):
    name: ClassVar[str] = "none"
    title: ClassVar[str] = "no profile"
    paper: ClassVar[str] = "floor"

    prompt: Literal["plain", "comedian", "observer"] = "plain"

    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        system = PROMPTS[self.prompt]
        head = ({"role": "system", "content": system},) if system else ()
        return Conditioning((*head, {"role": "user", "content": ask.instruction()}))
