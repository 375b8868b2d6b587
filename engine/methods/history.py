"""Text prefix: the person's latest likes stand in the prompt as examples.

The plainest way to personalise (LaMP, arXiv 2304.11406, section 3.2, with recency instead of a retriever). The
budget is LaMP's as well: shared evenly, and what a short example leaves, the next may use.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from collectors.item import Item
from engine.backbone import Backbone
from engine.methods.base import Ask, Conditioning, Method, State
from engine.profile import Profile

TEMPLATES = {
    "likes": "Here is what makes me laugh:\n{likes}\n\n{request} Make it something new that fits my taste.",
    "both": "Here is what makes me laugh:\n{likes}\n\nAnd what does not:\n{dislikes}\n\n"
    "{request} Make it something new that fits my taste.",
}


@dataclass(frozen=True)
class History(Method):
    name: ClassVar[str] = "history"
    title: ClassVar[str] = "your latest likes as examples"
    paper: ClassVar[str] = "arXiv 2304.11406 (LaMP)"

    template: Literal["likes", "both"] = "likes"
    k: int = 4  # examples of each kind
    max_tokens: int = 160  # of all examples of a kind together

    def lacks(self, lm: Backbone, profile: Profile) -> str | None:
        if not profile.liked:
            return "it needs at least one like"
        return "it needs a dislike" if self.template == "both" and not profile.disliked else None

    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        likes, dislikes = profile.liked[-self.k :], profile.disliked[-self.k :]
        content = TEMPLATES[self.template].format(
            likes=self._shown(lm, likes), dislikes=self._shown(lm, dislikes), request=ask.instruction()
        )
        return Conditioning(({"role": "user", "content": content},), evidence=tuple(item.id for item in likes))

    def shortened(self, lm: Backbone, items: Sequence[Item]) -> int:
        return sum(lm.cut(item.text, share) != item.text for item, share in self._shares(lm, items))

    def _shown(self, lm: Backbone, items: Sequence[Item]) -> str:
        lines: list[str] = []
        for item, share in self._shares(lm, items):
            short = lm.cut(item.text, share)
            lines.append(" ".join((short if short == item.text else f"{short} ...").split()))
        return "\n".join(f"- {line}" for line in lines)

    def _shares(self, lm: Backbone, items: Sequence[Item]) -> Iterator[tuple[Item, int]]:
        """Each item, and how many tokens of it may stand in the prompt."""
        left = self.max_tokens
        for place, item in enumerate(items):
            fair = left // (len(items) - place)
            left -= min(lm.count(item.text), fair)
            yield item, fair
