"""Where the model works: in this process, or where an accelerator is lent for seconds, as Spaces with ZeroGPU do.

There `spaces.GPU` pickles a task with what it is told, runs it in a forked process and pickles what it says. So a task
is a module-level function of the model and of plain values; it writes nothing, for what it changed would be lost; and
the model is an object of this module, on its device since it was loaded.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from engine.backbone import Backbone

Said = TypeVar("Said")
Lender = Callable[[Callable[..., Any]], Callable[..., Any]]  # `spaces.GPU(duration=...)`
NO_TIME = "the accelerator here is lent for seconds, too short to learn anything: run Palate at home for that"

_model: Backbone | None = None
_there: Callable[..., Any] | None = None
_home = os.getpid()


def generate(task: Callable[..., Any], *told: Any) -> Any:
    """Do a task with the model of this module."""
    if os.getpid() != _home:
        torch.set_num_threads(1)  # the threads that another process had are not in its fork, and would be waited for
    return task(_model, *told)


def lend(lm: Backbone, gpu: Lender) -> None:
    """From now on this model works only where `gpu` runs it. Called once, before the page is shown."""
    global _model, _there
    _model, _there = lm, gpu(generate)


def lent(lm: Backbone) -> bool:
    """Whether its tensors are out of reach of this process."""
    return lm is _model


def by_model(task: Callable[..., Said], lm: Backbone, *told: Any) -> Said:
    """What a task says, wherever the model works."""
    said: Said = _there(task, *told) if _there and lm is _model else task(lm, *told)
    return said
