"""Additive patches of the frozen model's modules: what a method adds to an output, for its own rows of a batch.

LoRA and gated cross-attention are both `y + delta(x, y)`, so one way of attaching serves them, quantised weights
stay untouched, and rows of one batch can carry different patches. Nothing is left on the model after the call.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Site(NamedTuple):
    """Where a patch acts: a module by its path, and, where a family fuses projections, a slice of its output."""

    module: str
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True, eq=False)
class Patch(ABC):
    """Something added to a module's output. Patches of one kin at one site are joined by `stack` for a batch."""

    @abstractmethod
    def delta(self, x: Tensor, y: Tensor) -> Tensor:
        """What is added to `y` (n, T, Dout), the module's output for its input `x` (n, T, Din); n rows, one each."""

    def kin(self) -> object:
        """Patches whose kin are equal can be stacked."""
        return type(self)

    def to(self, dtype: torch.dtype) -> "Patch":
        """The same with all its tensors in `dtype`; differentiable."""
        return replace(self, **{f.name: _to(getattr(self, f.name), dtype) for f in fields(self)})

    @classmethod
    @abstractmethod
    def stack(cls, patches: Sequence[Any]) -> "Patch":
        """The patches of n rows as one patch for these n rows."""


Patches = Mapping[Site, tuple[Patch, ...]]  # several at one site add up, each from the module's own x and y


@dataclass(frozen=True, eq=False)
class LowRank(Patch):
    """LoRA (arXiv 2106.09685, section 4.1): s (x A) B with A (n, Din, r), B (n, r, Dout); B is zero at birth.

    `dropout` acts on x, as in PEFT, and only while A is being learned.
    """

    a: Tensor
    b: Tensor
    scale: float = 1.0
    dropout: float = 0.0

    def kin(self) -> object:
        return type(self), self.dropout

    def delta(self, x: Tensor, y: Tensor) -> Tensor:
        x = nn.functional.dropout(x, self.dropout, training=self.a.requires_grad)
        return (x @ self.a) @ self.b * self.scale  # (n, T, Dout)

    @classmethod
    def stack(cls, patches: Sequence["LowRank"]) -> "LowRank":
        """Ranks are padded with zeros to the largest; each row's own scale goes into its B."""
        rank = max(patch.a.shape[-1] for patch in patches)
        a = [nn.functional.pad(patch.a, (0, rank - patch.a.shape[-1])) for patch in patches]
        b = [nn.functional.pad(patch.b * patch.scale, (0, 0, 0, rank - patch.b.shape[-2])) for patch in patches]
        return cls(torch.cat(a), torch.cat(b), dropout=patches[0].dropout)


def _to(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, dict):
        return {name: _to(part, dtype) for name, part in value.items()}
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def together(base: Patches, own: Patches) -> Patches:
    """Both, the base first."""
    return {site: (*base.get(site, ()), *own.get(site, ())) for site in dict.fromkeys((*base, *own))}


@contextmanager
def attached(model: nn.Module, rows: Sequence[Patches]) -> Iterator[None]:
    """While open, row i of every batch through `model` carries the patches `rows[i]`; afterwards no hook is left.

    Raises KeyError for a module that the model does not have.
    """
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    groups: dict[str, list[tuple[Site, Tensor | None, Patch]]] = {}
    for site in dict.fromkeys(site for patches in rows for site in patches):
        for place in range(max(len(patches.get(site, ())) for patches in rows)):
            at = {i: p[site][place] for i, p in enumerate(rows) if len(p.get(site, ())) > place}
            for kin in dict.fromkeys(patch.kin() for patch in at.values()):
                mine = [i for i, patch in at.items() if patch.kin() == kin]
                where = None if len(mine) == len(rows) else torch.tensor(mine)  # None: every row
                stacked = at[mine[0]].stack([at[i] for i in mine]).to(dtype)
                groups.setdefault(site.module, []).append((site, where, stacked))
    modules = dict(model.named_modules())
    handles = []
    try:
        for path, parts in groups.items():
            handles.append(modules[path].register_forward_hook(_hook(parts), with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(parts: Sequence[tuple[Site, Tensor | None, Patch]]) -> Any:
    def add(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        x = args[0] if args else kwargs["hidden_states"]
        y = output if isinstance(output, Tensor) else output[0]
        patched = y
        for site, rows, patch in parts:
            stop = y.shape[-1] if site.stop is None else site.stop
            own_x, own_y = (x, y) if rows is None else (x[rows], y[rows])
            delta = patch.delta(own_x, own_y[..., site.start : stop]).to(y.dtype)
            delta = (
                nn.functional.pad(delta, (site.start, y.shape[-1] - stop)) if delta.shape[-1] < y.shape[-1] else delta
            )
            patched = patched + delta if rows is None else patched.index_add(0, rows.to(y.device), delta)
        return patched if isinstance(output, Tensor) else (patched, *output[1:])

    return add
