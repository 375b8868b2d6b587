"""Topic soft prompts ("slop"): each topic of the person's taste becomes one soft token through a trained projector.

Topics come from leader clustering of the liked items, one pass in the order they were liked; the threshold is a
quantile of random-pair similarity on the population that taught the projector. Raw embeddings mean nothing to a
frozen model, so the projector must be trained. Dislikes make topics too, marked by a learned direction.
Nearest published: the cluster variant of P-RLHF (arXiv 2402.05133, section 4.2).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from engine.backbone import Backbone, Facility
from engine.methods.base import Ask, Conditioning, Method, State
from engine.methods.parts import as_tokens, dropped, linear, linear_born, needs_likes, norm, norm_born, seeded
from engine.profile import Profile
from engine.recommend.taste import DISLIKES, LIKES, topics
from engine.topics import threshold


@dataclass(frozen=True)
class Topics(Method):
    name: ClassVar[str] = "topics"
    title: ClassVar[str] = "your topics as soft tokens"
    paper: ClassVar[str] = "own, after arXiv 2402.05133"
    asks: ClassVar[tuple[Facility, ...]] = ("prefix",)

    of: Literal["topics", "posts"] = "topics"  # one token a topic, or one a liked post
    likes: int = LIKES  # tokens for what is liked
    dislikes: int = DISLIKES  # and for what is not
    hidden: int = 384
    dropout: float = 0.1

    def lacks(self, lm: Backbone, profile: Profile) -> str | None:
        return needs_likes(profile)

    def born(self, lm: Backbone, items: NDArray[np.float32]) -> State:
        dice = seeded(1)
        state = linear_born("in", items.shape[1], self.hidden, dice) | norm_born("norm", self.hidden)
        state |= linear_born("out", self.hidden, lm.width, dice)
        state["disliked"] = torch.randn(self.hidden, generator=dice) * 0.02
        return state | {"threshold": torch.tensor(threshold(items))}

    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        liked, likes = self._chosen(profile, 1, self.likes, state)
        _, dislikes = self._chosen(profile, -1, self.dislikes, state)
        x = linear(state, "in", torch.from_numpy(np.concatenate([likes, dislikes])).to(lm.device))  # (P, hidden)
        marked = torch.tensor([0.0] * len(likes) + [1.0] * len(dislikes), device=lm.device)  # (P,)
        x = functional.gelu(x + marked[:, None] * state["disliked"])
        prefix = as_tokens(linear(state, "out", dropped(norm(state, "norm", x), self.dropout)), lm)  # (P, D)
        evidence = tuple(profile.items[row].id for row in liked)
        return Conditioning(({"role": "user", "content": ask.instruction()},), prefix=prefix, evidence=evidence)

    def _chosen(self, profile: Profile, sign: int, most: int, state: State) -> tuple[list[int], NDArray[np.float32]]:
        """The item nearest each topic, and the topics (P, E); or the latest posts themselves."""
        if self.of == "topics":
            return topics(profile, sign, most, state["threshold"].item())
        rows = [i for i, signal in enumerate(profile.signals) if signal.sign == sign][-most:]
        return rows, profile.vectors[rows]
