"""Embedding-to-prefix: the person's one vector becomes one or a few soft tokens (arXiv 2505.17051, section 3).

E -> Linear -> GELU -> LayerNorm -> dropout -> Linear -> P x D, E being the encoder's width. With `aware` the vector is
made for the request, as in PPlug (arXiv 2409.11901, section 3.3): likes weighted by a softmax of their closeness to the
payload, and a learned instruction embedding beside the personal one.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from engine import encoder
from engine.backbone import Backbone, Facility
from engine.methods.base import Ask, Conditioning, Method, State
from engine.methods.parts import (
    as_tokens,
    dropped,
    liked_vectors,
    linear,
    linear_born,
    needs_likes,
    norm,
    norm_born,
    seeded,
)
from engine.profile import Profile


@dataclass(frozen=True)
class E2P(Method):
    name: ClassVar[str] = "e2p"
    title: ClassVar[str] = "your taste as soft tokens"
    paper: ClassVar[str] = "arXiv 2505.17051"
    asks: ClassVar[tuple[Facility, ...]] = ("prefix",)

    tokens: int = 1
    aware: bool = False  # of the request
    # of the softmax over likes: PPlug trains its encoder, ours is frozen and its cosines are flat
    sharpness: float = 10.0
    dropout: float = 0.1

    def lacks(self, lm: Backbone, profile: Profile) -> str | None:
        return needs_likes(profile)

    def born(self, lm: Backbone, items: NDArray[np.float32]) -> State:
        dice = seeded(0)
        hidden = (items.shape[1] + self.tokens * lm.width) // 2
        state = linear_born("in", items.shape[1], hidden, dice)
        state |= norm_born("norm", hidden)
        state |= linear_born("out", hidden, self.tokens * lm.width, dice)
        return state | ({"instruction": torch.randn(1, lm.width, generator=dice)} if self.aware else {})

    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        likes = liked_vectors(profile, lm)  # (n, E)
        if self.aware:
            query = torch.from_numpy(encoder.encode([ask.payload])[0]).to(likes)  # (E,)
            person = (self.sharpness * likes @ query).softmax(0) @ likes
        else:
            person = likes.mean(0)
        x = functional.gelu(linear(state, "in", functional.normalize(person, dim=0)))
        x = linear(state, "out", dropped(norm(state, "norm", x), self.dropout)).view(self.tokens, lm.width)
        prefix = as_tokens(torch.cat([x, state["instruction"]]) if self.aware else x, lm)  # (P, D)
        evidence = tuple(item.id for item in profile.liked[-8:])
        return Conditioning(({"role": "user", "content": ask.instruction()},), prefix=prefix, evidence=evidence)
