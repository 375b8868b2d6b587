"""LLM summary: a few sentences about the person's taste, written by the model from the likes, stand in the prompt.

Summary-augmented personalisation (arXiv 2310.20081); the text itself is made by `engine.summary`.
"""

from dataclasses import dataclass
from typing import ClassVar

from engine.backbone import Backbone
from engine.methods.base import Ask, Conditioning, Method, State
from engine.profile import Profile, representatives


@dataclass(frozen=True)
class Summary(Method):
    name: ClassVar[str] = "summary"
    title: ClassVar[str] = "a summary of your taste"
    paper: ClassVar[str] = "arXiv 2310.20081"

    def lacks(self, lm: Backbone, profile: Profile) -> str | None:
        return None if profile.summary else "your summary is not written yet (it needs three likes)"

    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        request = f"{ask.instruction()} Make it something new that fits my taste."
        content = f"About my sense of humor: {profile.summary}\n\n{request}"
        read = profile.summary_evidence or tuple(item.id for item in representatives(profile))
        evidence = tuple(item.id for item in profile.liked if item.id in read)
        return Conditioning(({"role": "user", "content": content},), evidence=evidence)
