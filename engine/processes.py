"""Several processes that learn as one, started by `accelerate launch`: each takes a share of every step's examples, the
gradients are added up, and what only one may do (judge, write, tell) the first one does.

A step is the same however many they are, but for the order of sums and for dropout, which each draws for itself. One
process alone takes all and sends nothing.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

from engine.methods.base import State

PATIENCE = timedelta(hours=3)  # of those who wait while the first one judges
T = TypeVar("T")


@contextmanager
def together() -> Iterator[None]:
    """Meet the other processes, if `accelerate launch` started more than one, and part in the end."""
    if not distributed.is_available() or not distributed.is_torchelastic_launched():
        yield
        return
    from accelerate import PartialState  # late: alone, nobody needs it

    state = PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)  # each process on a GPU of its own
    yield
    state.destroy_process_group()


def size() -> int:
    """How many learn together."""
    return distributed.get_world_size() if _met() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return distributed.get_rank() if _met() else 0


def first() -> bool:
    return rank() == 0


def share(drawn: Sequence[T]) -> Sequence[T]:
    """This process's part of what all draw alike: every n-th, so that sorted things are shared evenly; maybe none."""
    return drawn[rank() :: size()]


def total(number: float) -> float:
    """The sum of a number over all processes."""
    return sum(_each(number)) if size() > 1 else number


def first_says(value: T) -> T:
    """The value that the first process has, in all of them."""
    if size() == 1:
        return value
    told = [value]
    distributed.broadcast_object_list(told)
    return told[0]


def once(make: Callable[[], T]) -> T:
    """What the first process makes, in all of them, as soon as it is made; also what it raises."""
    if size() == 1:
        return make()
    made: T | Exception | None = None
    if first():
        try:
            made = make()
        except Exception as error:
            made = error
    made = first_says(made)
    if isinstance(made, Exception):
        raise made
    return made  # type: ignore[return-value]  # of the first one's kind


def alike(live: State) -> None:
    """Give each tensor the first process's values."""
    if size() > 1:
        for tensor in live.values():
            distributed.broadcast(tensor.detach(), 0)


def add_gradients(live: State, loss: float, sparse: Collection[str] = ()) -> float:
    """Leave on each tensor the sum of the gradients that the processes have on it; returns the sum of their losses."""
    if size() == 1:
        return loss
    dense = [tensor for name, tensor in live.items() if name not in sparse]
    there = torch.tensor([loss, *(tensor.grad is not None for tensor in dense)], device=dense[0].device)
    parts = [torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for tensor in dense]
    flat = torch.cat([there, *(part.flatten() for part in parts)])
    distributed.all_reduce(flat)
    found = flat[len(there) :].split([part.numel() for part in parts])
    for tensor, part, had in zip(dense, found, flat[1 : len(there)].tolist(), strict=True):
        tensor.grad = part.view_as(tensor) if had else None  # of what nobody used the optimizer must see none
    for name in sorted(live.keys() & set(sparse)):  # of these names some may not be learned now
        live[name].grad = _added(live[name])
    return float(flat[0])


def _added(tensor: Tensor) -> Tensor | None:
    """The sum of the processes' sparse gradients: the rows that each has are sent, and not the table."""
    own = None if tensor.grad is None else tensor.grad.coalesce()
    there = [grad for grad in _each(None if own is None else (own.indices().cpu(), own.values().cpu())) if grad]
    if not there:
        return None
    rows, values = (torch.cat(parts, dim=-1 if n == 0 else 0) for n, parts in enumerate(zip(*there, strict=True)))
    return torch.sparse_coo_tensor(rows, values, tensor.shape, device=tensor.device, check_invariants=True).coalesce()


def _each(value: T) -> list[T]:
    """The value that each process has, in their order."""
    found: list[T] = [value] * size()
    distributed.all_gather_object(found, value)
    return found


def _met() -> bool:
    return distributed.is_available() and distributed.is_initialized()
