"""The one loop of learning: AdamW with linear warm-up and cosine, clipping, early stop, a checkpoint to go on from.

It sees named tensors, a function that leaves their gradients, and one that says how good they are; what is learned,
and from what, is its callers' business (`engine.train` texts, `engine.recommend` items and likes).
"""

import csv
import json
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch.optim import AdamW, Optimizer, SparseAdam

from engine import processes
from engine.methods.base import State
from engine.prompt import NotNumbers
from engine.state import content

DIVERGED = "the loss is no number any more: choose a smaller --lr"


class TrainError(RuntimeError):
    """Training that cannot go on. The message is one sentence that says what to do; what was saved stays."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how hard. One step is `accumulate` x `batch` examples, each batch of texts of like length."""

    steps: int = 300
    batch: int = 4
    accumulate: int = 4
    lr: float = 3e-3
    warmup: float = 0.1  # share of the steps
    weight_decay: float = 0.01
    clip: float = 1.0
    max_target_tokens: int = 64
    evaluate_every: int = 50
    patience: int = 4  # evaluations without a better one
    seconds: float = float("inf")
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    step: int
    steps: int
    loss: float
    held_out: float | None
    seconds_left: float


@dataclass(frozen=True, eq=False)
class Trained:
    """The best state by held-out loss, and the way there: rows of (step, loss, held-out loss or nan)."""

    state: State
    curve: tuple[tuple[int, float, float], ...]
    before: float
    after: float
    seconds: float
    ended: str


@contextmanager
def in_words() -> Iterator[None]:
    """What goes wrong while somebody learns, as a TrainError with a sentence."""
    try:
        yield
    except NotNumbers as error:
        raise TrainError(DIVERGED) from error
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TrainError("memory does not suffice for batches of this size: choose a smaller --batch") from error


# (what is learned, step) -> the loss; leaves a gradient on each tensor. Of several processes, each has its part of both
Gradients = Callable[[State, int], float]
T = TypeVar("T")
Judge = Callable[[State], float]  # the held-out loss of what was learned: the smaller the better


@in_words()
def optimise(
    state: State,
    gradients: Gradients,
    judge: Judge,
    recipe: Recipe,
    *,
    rate: Callable[[str], float] = lambda _: 1.0,
    sparse: Collection[str] = (),
    checkpoint: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Trained:
    """Teach `state` until the steps, the seconds or the patience end, or somebody stops it; best held-out state wins.

    The tensor of a name learns at `rate` times the recipe's; those named `sparse` have sparse gradients, and neither
    weight decay nor clipping. With a `checkpoint` path a killed run goes on where it was: what a step learns from
    follows from its number. Where several processes learn as one (`engine.processes`), each leaves the gradients of its
    share and the first one judges. Raises TrainError where the loss is no number, or memory does not suffice.
    """
    from transformers import get_cosine_schedule_with_warmup  # late: it brings peft and bitsandbytes along, a second

    started = time.monotonic()
    live = {name: t.detach().float().clone().requires_grad_() for name, t in state.items()}
    processes.alike(live)
    dense = [tensor for name, tensor in live.items() if name not in sparse]
    optimizers = adam(live, recipe, rate, sparse)
    warmup = round(recipe.warmup * recipe.steps)
    moving = [*optimizers, *(get_cosine_schedule_with_warmup(one, warmup, recipe.steps) for one in optimizers)]
    curve: list[tuple[int, float, float]] = []
    step = stale = 0
    spent = 0.0  # seconds of earlier runs
    began = content(state) if checkpoint else ""
    saved = processes.once(lambda: _resume(checkpoint, recipe, began) if checkpoint and checkpoint.exists() else None)
    if saved:
        with torch.no_grad():
            for name, tensor in live.items():
                tensor.copy_(saved["live"][name])
        for one, told in zip(moving, saved["moving"], strict=True):
            one.load_state_dict(told)
        step, stale, spent, curve, before = (saved[k] for k in ("step", "stale", "spent", "curve", "before"))
        best_loss, best = saved["best_loss"], saved["best"]
    else:
        before = best_loss = processes.once(lambda: judge(state))
        best = _copied(live)
        curve.append((0, float("nan"), before))
    ended = "all steps done"
    while step < recipe.steps:
        torch.manual_seed(recipe.seed * 1_000_003 + step + (processes.rank() << 40))  # dropout
        for one in optimizers:
            one.zero_grad(set_to_none=True)
        loss = processes.add_gradients(live, gradients(live, step), sparse)
        if not math.isfinite(loss):
            raise TrainError(DIVERGED)
        torch.nn.utils.clip_grad_norm_(dense, recipe.clip)
        for one in moving:  # the optimizers, then their rates
            one.step()
        step += 1
        seconds = spent + time.monotonic() - started
        if stopped():
            ended = "stopped"
        elif seconds > recipe.seconds:
            ended = "time is up"
        ended = processes.first_says(ended)
        last = ended != "all steps done" or step == recipe.steps
        found = None
        if step % recipe.evaluate_every == 0 or last:
            if not all(bool(torch.isfinite(tensor).all()) for tensor in live.values()):
                raise TrainError(DIVERGED)
            found = processes.once(lambda: judge(live))
            stale += 1
            if found < best_loss:
                best_loss, stale, best = found, 0, _copied(live)
            if stale >= recipe.patience and not last:
                ended, last = "no better for a while", True
        curve.append((step, loss, float("nan") if found is None else found))
        if processes.first():
            on_progress(Progress(step, recipe.steps, loss, found, _left(seconds, step, recipe)))
        if checkpoint and found is not None and processes.first():
            kept = {"live": live, "moving": [one.state_dict() for one in moving], "step": step, "stale": stale}
            kept |= {"spent": spent + time.monotonic() - started, "curve": curve, "before": before}
            kept |= {"best_loss": best_loss, "best": best, "recipe": json.dumps(asdict(recipe)), "began": began}
            _keep(checkpoint, kept)
        if last:
            break
    if checkpoint and ended != "stopped" and processes.first():
        checkpoint.unlink(missing_ok=True)
    return Trained(best, tuple(curve), before, best_loss, spent + time.monotonic() - started, ended)


def drawn_for(examples: Sequence[T], recipe: Recipe, step: int) -> list[T]:
    """The examples of a step: epochs shuffled by the seed, one after the other."""
    size = recipe.batch * recipe.accumulate
    chosen: list[T] = []
    for epoch in range(step * size // len(examples), ((step + 1) * size - 1) // len(examples) + 1):
        order, begun = np.random.default_rng([recipe.seed, epoch]).permutation(len(examples)), epoch * len(examples)
        places = range(max(step * size - begun, 0), min((step + 1) * size - begun, len(examples)))
        chosen += [examples[order[place]] for place in places]
    return chosen


def adam(
    live: State, recipe: Recipe, rate: Callable[[str], float] = lambda _: 1.0, sparse: Collection[str] = ()
) -> list[Optimizer]:
    """AdamW for what has dense gradients, the sparse Adam for the rest."""

    def groups(names: Collection[str]) -> list[dict[str, Any]]:
        rates = dict.fromkeys(rate(name) for name in names)
        return [{"params": [live[n] for n in names if rate(n) == one], "lr": recipe.lr * one} for one in rates]

    found: list[Optimizer] = []
    if names := [name for name in live if name not in sparse]:
        found.append(AdamW(groups(names), lr=recipe.lr, weight_decay=recipe.weight_decay))
    if names := [name for name in live if name in sparse]:
        found.append(SparseAdam(groups(names), lr=recipe.lr))
    return found


def _copied(live: State) -> State:
    return {name: tensor.detach().clone() for name, tensor in live.items()}


def _left(seconds: float, step: int, recipe: Recipe) -> float:
    return min(seconds / step * (recipe.steps - step), max(0.0, recipe.seconds - seconds))


def _keep(path: Path, kept: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    torch.save(kept, unfinished)
    unfinished.replace(path)


def _resume(path: Path, recipe: Recipe, began: str) -> dict[str, Any]:
    try:
        saved: dict[str, Any] = torch.load(path, weights_only=True)
        same = saved["recipe"] == json.dumps(asdict(recipe)) and saved["began"] == began
    except Exception as error:  # a damaged pickle raises almost anything
        raise TrainError(f"{path} cannot be read: delete it to begin anew") from error
    if not same:
        raise TrainError(f"{path} is of a run with another recipe or beginning: delete it to begin anew")
    return saved


def write_curve(path: Path, curve: Iterable[tuple[int, float, float]]) -> None:
    """The loss curve as CSV: step, loss, held-out loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss", "held_out"])
        writer.writerows(curve)
