"""Small parts that the learned methods share: linear layers as named tensors of a state, soft tokens to scale."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from engine.backbone import Backbone
from engine.methods.base import State
from engine.profile import Profile

STD = 0.02  # of the weights at birth


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear_born(name: str, ins: int, outs: int, dice: torch.Generator, std: float = STD) -> State:
    return {f"{name}.weight": torch.randn(outs, ins, generator=dice) * std, f"{name}.bias": torch.zeros(outs)}


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def norm_born(name: str, width: int) -> State:
    return {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}


def norm(state: State, name: str, x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def dropped(x: Tensor, share: float) -> Tensor:
    """Dropout while somebody learns, that is where x is to be differentiated; nothing otherwise."""
    return functional.dropout(x, share, training=x.requires_grad)


def as_tokens(x: Tensor, lm: Backbone) -> Tensor:
    """(P, D), each scaled to the length of a real token's embedding."""
    return functional.normalize(x, dim=-1) * lm.token_norm


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Multi-head attention of q (..., Q, W) over k, v (..., M, W); `mask` (..., 1, M) is True where there is memory."""

    def split(x: Tensor) -> Tensor:
        parted: Tensor = x.unflatten(-1, (heads, -1)).transpose(-2, -3)  # (..., H, Q or M, W / H)
        return parted

    scores = split(q) @ split(k).transpose(-1, -2) / math.sqrt(q.shape[-1] / heads)  # (..., H, Q, M)
    if mask is not None:
        scores = scores.masked_fill(~mask.unsqueeze(-3), torch.finfo(scores.dtype).min)
    return (scores.softmax(-1) @ split(v)).transpose(-2, -3).flatten(-2)


def needs_likes(profile: Profile, least: int = 1) -> str | None:
    """What a method lacks that reads likes, or learns from them."""
    missing = least - len(profile.liked)
    if missing <= 0:
        return None
    return "it needs at least one like" if least == 1 else f"it needs {missing} more like{'s' * (missing > 1)}"


def liked_vectors(profile: Profile, lm: Backbone, most: int | None = None) -> Tensor:
    """(n, E) of the liked items, oldest first; the latest `most`."""
    rows = [i for i, signal in enumerate(profile.signals) if signal.sign > 0]
    return torch.from_numpy(profile.vectors[rows[-most:] if most else rows]).to(lm.device)
