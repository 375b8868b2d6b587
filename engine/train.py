"""The one trainer: it lowers the loss of target texts by changing a method's state, the model frozen.

It sees examples and a function from them to a conditioning, never a method's name, so every method is trained the
same way: AdamW on float32 parameters, linear warm-up and cosine, clipping, early stop on held-out people. Logits
are built for target positions only: the head is the dearest layer, and most positions have no target.
"""

import csv
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.backbone import Backbone
from engine.losses import token_logps
from engine.methods.base import Ask, Conditioning, State
from engine.patches import attached, together
from engine.profile import Profile
from engine.prompt import NotNumbers, Prompt, prompt

DIVERGED = "the loss is no number any more: choose a smaller --lr"

Say = Callable[[Profile, State, Ask], Conditioning]
# (model, what is said, state, examples, longest target) -> a loss for each example (B,), and its weight (B,)
Objective = Callable[[Backbone, Say, State, Sequence["Example"], int], tuple[Tensor, Tensor]]


class TrainError(RuntimeError):
    """Training that cannot go on. The message is one sentence that says what to do; what was saved stays."""


@dataclass(frozen=True, eq=False)
class Example:
    """A person, a request, and a text this person liked, which is not in the profile. `rejected` is for pairs."""

    profile: Profile
    ask: Ask
    target: str
    rejected: str | None = None


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


def losses(lm: Backbone, say: Say, state: State, examples: Sequence[Example], longest: int) -> tuple[Tensor, Tensor]:
    """Mean log-loss a target token of each example (B,), and how many target tokens each has (B,); differentiable.

    A target is the text and the end of the turn, or the first `longest` tokens of a text that is longer; its mask
    comes from token ids.
    """
    told = [say(example.profile, state, example.ask) for example in examples]
    prompts = [prompt(lm, conditioning) for conditioning in told]
    targets = [target_ids(lm, example, longest) for example in examples]
    patches = [together(lm.base, conditioning.patches) for conditioning in told]
    with lm.lock, attached(lm.model, patches):
        hidden = _hidden_at_targets(lm, prompts, targets, 0 if any(patches) else common(prompts))  # (N, D)
    logps = token_logps(lm.head(hidden), torch.tensor([t for row in targets for t in row], device=lm.device))
    counts = [len(row) for row in targets]
    return torch.stack([-part.mean() for part in logps.split(counts)]), torch.tensor(counts, device=lm.device)


def target_ids(lm: Backbone, example: Example, longest: int) -> tuple[int, ...]:
    """What the model is to say; a text that was cut does not end its turn there."""
    ids = (*lm.tokens(example.target), *lm.end_of_turn)
    return ids if len(ids) <= longest else ids[:longest]


def common(prompts: Sequence[Prompt]) -> int:
    """How many tokens all prompts begin with, before any soft token and before the last: nothing that is learned can
    reach them, unless by a patch."""
    heads = [given.ids[: -1 if given.prefix is None else given.at] for given in prompts]
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*heads, strict=False)))


def _hidden_at_targets(
    lm: Backbone, prompts: Sequence[Prompt], targets: Sequence[Sequence[int]], shared: int
) -> Tensor:
    """The hidden states from which the targets are predicted, (N, D), contiguous: the head copies its weight
    otherwise. Rows are padded on the right, where causal attention does not look. Their first `shared` tokens are the
    same in all and go through the model once, without a gradient: with a chat template, a third of a step."""
    rows = []
    for given, target in zip(prompts, targets, strict=True):
        answer = lm.embed(torch.tensor(target[:-1], dtype=torch.long, device=lm.device))  # nothing follows the last
        rows.append(torch.cat([given.embedded(lm)[shared:], answer]))
    inputs = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)  # (B, T, D)
    hidden = lm.hidden(inputs, lm.read(prompts[0].ids[:shared], len(rows)) if shared else None)
    ends = [len(row) for row in rows]
    parts = [hidden[b, end - len(target) : end] for b, (end, target) in enumerate(zip(ends, targets, strict=True))]
    return torch.cat(parts).contiguous()


def evaluate(
    lm: Backbone, say: Say, state: State, examples: Sequence[Example], recipe: Recipe, objective: Objective = losses
) -> float:
    """Mean loss over all examples, by their weights: for `losses`, the mean log-loss a target token."""
    found, counts = each(lm, say, state, examples, recipe, objective)
    return float((found * counts).sum() / counts.sum())


@torch.inference_mode()
def each(
    lm: Backbone, say: Say, state: State, examples: Sequence[Example], recipe: Recipe, objective: Objective = losses
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The loss of each example (N,), and its weight (N,): for `losses`, how many target tokens it has."""
    parts = [
        objective(lm, say, state, examples[start : start + recipe.batch], recipe.max_target_tokens)
        for start in range(0, len(examples), recipe.batch)
    ]
    found, counts = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
    return found.astype(np.float64), counts


def wrong_users(examples: Sequence[Example]) -> list[Example]:
    """The same requests and targets, each with the profile of somebody else: a personal method must do worse."""
    users = [example.profile.user for example in examples]
    wrong = []
    for i, example in enumerate(examples):
        others = (examples[(i + shift) % len(examples)] for shift in range(1, len(examples)))
        other = next((o for o in others if o.profile.user != users[i]), None)
        if other is None:
            raise ValueError("the wrong-user control needs at least two people")
        wrong.append(Example(other.profile, example.ask, example.target, example.rejected))
    return wrong


@contextmanager
def in_words() -> Iterator[None]:
    """What goes wrong while somebody learns, as a TrainError with a sentence."""
    try:
        yield
    except NotNumbers as error:
        raise TrainError(DIVERGED) from error
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TrainError("memory does not suffice for batches of this size: choose a smaller --batch") from error


@in_words()
def train(
    lm: Backbone,
    say: Say,
    state: State,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    recipe: Recipe,
    *,
    objective: Objective = losses,
    checkpoint: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Trained:
    """Teach `state` until the steps, the seconds or the patience end, or somebody stops it; best held-out state wins.

    With a `checkpoint` path a killed run goes on where it was: the examples of a step follow from seed and step.
    Raises TrainError where nothing can be learned from, the loss is no number, or memory does not suffice.
    """
    if not examples or not held_out:
        raise TrainError("there is nothing to learn from: at least two likes are needed, one of them held out")
    if not state:
        raise TrainError("this way of writing has nothing to learn")
    if not lm.head_is_all():
        raise TrainError(f"{lm.name} does something after its head that is not known here: choose another --model")
    from transformers import get_cosine_schedule_with_warmup  # late: it brings peft and bitsandbytes along, a second

    started = time.monotonic()
    live = {name: t.detach().float().clone().to(lm.device).requires_grad_() for name, t in state.items()}
    optimizer = torch.optim.AdamW(live.values(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(recipe.warmup * recipe.steps), recipe.steps)
    curve: list[tuple[int, float, float]] = []
    step = stale = 0
    spent = 0.0  # seconds of earlier runs
    with lm.learning():  # from the first evaluation on: all are of the same arithmetic
        if checkpoint and checkpoint.exists():
            saved = _resume(checkpoint, recipe)
            with torch.no_grad():
                for name, tensor in live.items():
                    tensor.copy_(saved["live"][name])
            optimizer.load_state_dict(saved["optimizer"])
            schedule.load_state_dict(saved["schedule"])
            step, stale, spent, curve, before = (saved[k] for k in ("step", "stale", "spent", "curve", "before"))
            best_loss, best = saved["best_loss"], saved["best"]
        else:
            before = best_loss = evaluate(lm, say, state, held_out, recipe, objective)
            best = {name: t.detach().clone() for name, t in live.items()}
            curve.append((0, float("nan"), before))
        ended = "all steps done"
        while step < recipe.steps:
            torch.manual_seed(recipe.seed * 1_000_003 + step)  # dropout
            loss = _step(lm, say, live, _batch(examples, recipe, step), optimizer, recipe, objective)
            schedule.step()
            step += 1
            seconds = spent + time.monotonic() - started
            if stopped():
                ended = "stopped"
            elif seconds > recipe.seconds:
                ended = "time is up"
            last = ended != "all steps done" or step == recipe.steps
            found = None
            if step % recipe.evaluate_every == 0 or last:
                found = evaluate(lm, say, live, held_out, recipe, objective)
                stale += 1
                if found < best_loss:
                    best_loss, stale = found, 0
                    best = {name: t.detach().clone() for name, t in live.items()}
                if stale >= recipe.patience and not last:
                    ended, last = "no better for a while", True
            curve.append((step, loss, float("nan") if found is None else found))
            on_progress(Progress(step, recipe.steps, loss, found, _left(seconds, step, recipe)))
            if checkpoint and found is not None:
                spent_now = spent + time.monotonic() - started
                kept = {
                    "live": live,
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "step": step,
                }
                kept |= {"stale": stale, "spent": spent_now, "curve": curve, "before": before, "best_loss": best_loss}
                _keep(checkpoint, kept | {"best": best, "recipe": json.dumps(asdict(recipe))})
            if last:
                break
    if checkpoint and ended != "stopped":
        checkpoint.unlink(missing_ok=True)
    return Trained(best, tuple(curve), before, best_loss, spent + time.monotonic() - started, ended)


def _step(
    lm: Backbone,
    say: Say,
    live: State,
    examples: Sequence[Example],
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    objective: Objective,
) -> float:
    """One optimizer step over the examples in micro-batches; returns their mean loss by weight."""
    optimizer.zero_grad(set_to_none=True)
    sizes = [len(target_ids(lm, example, recipe.max_target_tokens)) for example in examples]
    by_length = [examples[i] for i in np.argsort(sizes, kind="stable")]  # little padding: 3.0 s a step and not 5.1
    total = weight = 0.0
    for start in range(0, len(examples), recipe.batch):
        found, counts = objective(lm, say, live, by_length[start : start + recipe.batch], recipe.max_target_tokens)
        (found * counts).sum().backward()
        total, weight = total + float((found.detach() * counts).sum()), weight + float(counts.sum())
    if not np.isfinite(total):
        raise TrainError(DIVERGED)
    for tensor in live.values():
        if tensor.grad is not None:
            tensor.grad /= weight  # the same whatever the micro-batches
    torch.nn.utils.clip_grad_norm_(live.values(), recipe.clip)
    optimizer.step()
    return total / weight


def _batch(examples: Sequence[Example], recipe: Recipe, step: int) -> list[Example]:
    """The examples of a step: epochs shuffled by the seed, one after the other."""
    size = recipe.batch * recipe.accumulate
    chosen = []
    for place in range(step * size, (step + 1) * size):
        epoch, at = divmod(place, len(examples))
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(examples))
        chosen.append(examples[order[at]])
    return chosen


def _left(seconds: float, step: int, recipe: Recipe) -> float:
    return min(seconds / step * (recipe.steps - step), max(0.0, recipe.seconds - seconds))


def _keep(path: Path, kept: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    torch.save(kept, unfinished)
    unfinished.replace(path)


def _resume(path: Path, recipe: Recipe) -> dict[str, Any]:
    try:
        saved: dict[str, Any] = torch.load(path, weights_only=True)
        same = saved["recipe"] == json.dumps(asdict(recipe))
    except Exception as error:  # a damaged pickle raises almost anything
        raise TrainError(f"{path} cannot be read: delete it to begin anew") from error
    if not same:
        raise TrainError(f"{path} is of a run with another recipe: delete it to begin anew")
    return saved


def write_curve(path: Path, curve: Iterable[tuple[int, float, float]]) -> None:
    """The loss curve as CSV: step, loss, held-out loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss", "held_out"])
        writer.writerows(curve)
