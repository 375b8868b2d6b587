"""PERSOMA: the person's items, encoded one by one, become soft tokens through an adapter (arXiv 2408.00960, section 3).

Two adapters: `mlp` turns each of the latest items into a token of its own, `perceiver` lets a few learned latents
read all of them. The paper's best is the MLP; histories may have any length.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.backbone import Backbone, Facility
from engine.methods.base import Ask, Conditioning, Method, State
from engine.methods.parts import (
    as_tokens,
    attend,
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
class Persoma(Method):
    name: ClassVar[str] = "persoma"
    title: ClassVar[str] = "your likes, read one by one, as soft tokens"
    paper: ClassVar[str] = "arXiv 2408.00960"
    asks: ClassVar[tuple[Facility, ...]] = ("prefix",)

    adapter: Literal["mlp", "perceiver"] = "mlp"
    items: int = 16  # the latest likes that are read; the perceiver's cost hardly depends on it
    latents: int = 4  # tokens that the perceiver writes
    layers: int = 2
    inner: int = 192
    heads: int = 4
    dropout: float = 0.1

    def lacks(self, lm: Backbone, profile: Profile) -> str | None:
        return needs_likes(profile)

    def born(self, lm: Backbone, items: NDArray[np.float32]) -> State:
        dice, w = seeded(2), self.inner
        state = linear_born("in", items.shape[1], w if self.adapter == "perceiver" else 2 * w, dice)
        if self.adapter == "mlp":
            return state | norm_born("norm", 2 * w) | linear_born("out", 2 * w, lm.width, dice)
        state |= {"latents": torch.randn(self.latents, w, generator=dice)} | norm_born("norm", w)
        for layer in range(self.layers):
            state |= norm_born(f"{layer}.norm", w) | norm_born(f"{layer}.ff.norm", w)
            for part in ("q", "k", "v", "o"):
                state |= linear_born(f"{layer}.{part}", w, w, dice, std=w**-0.5)
            state |= linear_born(f"{layer}.ff.up", w, 4 * w, dice, std=w**-0.5)
            state |= linear_born(f"{layer}.ff.down", 4 * w, w, dice, std=(4 * w) ** -0.5)
        return state | linear_born("out", w, lm.width, dice)

    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        x = linear(state, "in", liked_vectors(profile, lm, self.items))  # (n, W)
        x = functional.gelu(x) if self.adapter == "mlp" else self._read(state, x)
        prefix = as_tokens(linear(state, "out", dropped(norm(state, "norm", x), self.dropout)), lm)  # (P, D)
        evidence = tuple(item.id for item in profile.liked[-self.items :])
        return Conditioning(({"role": "user", "content": ask.instruction()},), prefix=prefix, evidence=evidence)

    def _read(self, state: State, items: Tensor) -> Tensor:
        """The perceiver resampler (Flamingo, arXiv 2204.14198, section 3.1.1): latents (P, W) read items (n, W)."""
        x = state["latents"]
        for layer in range(self.layers):
            seen = norm(state, f"{layer}.norm", torch.cat([items, x]))  # latents see themselves as well
            q, k, v = (linear(state, f"{layer}.{part}", seen) for part in ("q", "k", "v"))
            x = x + linear(state, f"{layer}.o", attend(q[-len(x) :], k, v, self.heads))
            up = functional.gelu(linear(state, f"{layer}.ff.up", norm(state, f"{layer}.ff.norm", x)))
            x = x + linear(state, f"{layer}.ff.down", up)
        return x
