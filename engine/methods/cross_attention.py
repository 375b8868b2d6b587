"""Gated cross-attention: every k-th layer may look at a memory of the person's liked items (Flamingo,
arXiv 2204.14198, section 3.1.2).

After a chosen layer h becomes h + tanh(g1) attend(h, memory), then + tanh(g2) feed-forward. Both gates are exactly 0
at birth: the model is the plain one, bit for bit, and the slope of tanh there is 1, so the gates can move. (A gate
born at -5, as in one known system, is not nearly closed but fully open at -0.9999, and its slope is 0.0002.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.backbone import Backbone, Facility
from engine.methods.base import Ask, Conditioning, Method, State
from engine.methods.parts import attend, liked_vectors, linear, linear_born, needs_likes, norm, norm_born, seeded
from engine.patches import Patch, Site
from engine.profile import Profile


@dataclass(frozen=True, eq=False)
class GatedBlock(Patch):
    """One block for n rows: their `memory` (n, M, E), where it is real `mask` (n, 1, M), and the block's weights."""

    memory: Tensor
    mask: Tensor
    block: State
    heads: int

    def kin(self) -> object:
        return (type(self), *(id(tensor) for tensor in self.block.values()))

    def delta(self, x: Tensor, y: Tensor) -> Tensor:
        seen = norm(self.block, "memory.norm", self.memory)  # (n, M, E)
        q = linear(self.block, "q", norm(self.block, "norm", y))  # (n, T, W)
        k, v = linear(self.block, "k", seen), linear(self.block, "v", seen)  # (n, M, W)
        attended = linear(self.block, "o", attend(q, k, v, self.heads, self.mask))  # (n, T, D)
        added = torch.tanh(self.block["gate.attention"]) * attended
        up = functional.gelu(linear(self.block, "ff.up", norm(self.block, "ff.norm", y + added)))
        delta = added + torch.tanh(self.block["gate.ff"]) * linear(self.block, "ff.down", up)
        return delta * self.mask.any(-1, keepdim=True)  # an empty memory adds exactly nothing

    @classmethod
    def stack(cls, patches: Sequence["GatedBlock"]) -> "GatedBlock":
        """Memories are padded to the longest and masked."""
        longest = max(patch.memory.shape[1] for patch in patches)
        room = [longest - patch.memory.shape[1] for patch in patches]
        memory = [functional.pad(p.memory, (0, 0, 0, more)) for p, more in zip(patches, room, strict=True)]
        mask = [functional.pad(p.mask, (0, more)) for p, more in zip(patches, room, strict=True)]
        return cls(torch.cat(memory), torch.cat(mask), patches[0].block, patches[0].heads)


@dataclass(frozen=True)
class CrossAttention(Method):
    name: ClassVar[str] = "cross_attention"
    title: ClassVar[str] = "your likes as a memory the model looks at"
    paper: ClassVar[str] = "arXiv 2204.14198 (Flamingo)"
    asks: ClassVar[tuple[Facility, ...]] = ("patches",)

    blocks: int = 5  # spread evenly over the layers
    items: int = 32  # the latest likes in the memory
    inner: int = 192
    heads: int = 4

    def lacks(self, lm: Backbone, profile: Profile) -> str | None:
        return needs_likes(profile)

    def born(self, lm: Backbone, items: NDArray[np.float32]) -> State:
        dice, d, w = seeded(3), lm.width, self.inner
        state: State = {}
        for block in range(self.blocks):
            made = norm_born("norm", d) | norm_born("memory.norm", items.shape[1]) | norm_born("ff.norm", d)
            made |= linear_born("q", d, w, dice) | linear_born("k", items.shape[1], w, dice)
            made |= linear_born("v", items.shape[1], w, dice) | linear_born("o", w, d, dice)
            made |= linear_born("ff.up", d, d, dice) | linear_born("ff.down", d, d, dice)
            made |= {"gate.attention": torch.zeros(1), "gate.ff": torch.zeros(1)}
            state |= {f"{block}.{name}": tensor for name, tensor in made.items()}
        return state

    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        memory = liked_vectors(profile, lm, self.items).unsqueeze(0)  # (1, M, E)
        mask = torch.ones(1, 1, memory.shape[1], dtype=torch.bool, device=lm.device)
        step = len(lm.layers) / self.blocks
        patches: dict[Site, tuple[Patch, ...]] = {}
        for block in range(self.blocks):
            own = {name.split(".", 1)[1]: t for name, t in state.items() if name.startswith(f"{block}.")}
            site = Site(lm.layers[min(len(lm.layers) - 1, round(step * (block + 0.5)))])
            patches[site] = (*patches.get(site, ()), GatedBlock(memory, mask, own, self.heads))
        evidence = tuple(item.id for item in profile.liked[-self.items :])
        return Conditioning(({"role": "user", "content": ask.instruction()},), patches=patches, evidence=evidence)
