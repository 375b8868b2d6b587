"""Text prefix: the person's latest likes stand in the prompt as examples.

The plainest way to personalise (LaMP, arXiv 2304.11406, section 3.2, with recency instead of a retriever).
"""

from dataclasses import dataclass
from typing import ClassVar

from engine.backbone import Backbone
from engine.methods.base import Ask, Conditioning, Method, State
from engine.profile import Profile


@dataclass(frozen=True)
class History(Method):
    name: ClassVar[str] = "history"
    title: ClassVar[str] = "your latest likes as examples"
    paper: ClassVar[str] = "arXiv 2304.11406 (LaMP)"

    k: int = 4  # examples
    max_tokens: int = 160  # of all examples together; what a short one leaves, the next may use

    def lacks(self, lm: Backbone, profile: Profile) -> str | None:
        return None if profile.liked else "it needs at least one like"

    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        chosen = profile.liked[-self.k :]
        examples: list[str] = []
        left = self.max_tokens
        for place, item in enumerate(chosen):
            fair = left // (len(chosen) - place)
            left -= min(len(lm.tokens(item.text)), fair)
            short = lm.cut(item.text, fair)
            examples.append(short if short == item.text else f"{short} ...")
        shown = "\n".join(f"- {' '.join(text.split())}" for text in examples)
        content = (
            f"Here is what makes me laugh:\n{shown}\n\n{ask.instruction()} Make it something new that fits my taste."
        )
        return Conditioning(({"role": "user", "content": content},), tuple(item.id for item in chosen))
