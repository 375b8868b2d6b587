"""The one trainer: it lowers the loss of target texts by changing a method's state, the model frozen.

It sees examples and a function from them to a conditioning, never a method's name, so every method is trained the
same way, stopped on held-out people. Logits are built for target positions only: the head is the dearest layer, and
most positions have no target.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine import processes
from engine.backbone import Backbone
from engine.losses import token_logps
from engine.methods.base import Ask, Conditioning, State
from engine.optimise import Progress, Recipe, Trained, TrainError, drawn_for, optimise
from engine.patches import attached, together
from engine.profile import Profile
from engine.prompt import Prompt, prompt

Say = Callable[[Profile, State, Ask], Conditioning]
# (model, what is said, state, examples, longest target) -> a loss for each example (B,), and its weight (B,)
Objective = Callable[[Backbone, Say, State, Sequence["Example"], int], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Example:
    """A person, a request, and a text this person liked, which is not in the profile. `rejected` is for pairs."""

    profile: Profile
    ask: Ask
    target: str
    rejected: str | None = None


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

    def gradients(live: State, step: int) -> float:
        return _gradients(lm, say, live, drawn_for(examples, recipe, step), recipe, objective)

    with lm.learning():  # from the first evaluation on: all are of the same arithmetic
        return optimise(
            {name: tensor.to(lm.device) for name, tensor in state.items()},
            gradients,
            lambda learned: evaluate(lm, say, learned, held_out, recipe, objective),
            recipe,
            checkpoint=checkpoint,
            on_progress=on_progress,
            stopped=stopped,
        )


def _gradients(
    lm: Backbone, say: Say, live: State, examples: Sequence[Example], recipe: Recipe, objective: Objective
) -> float:
    """Leave the gradients of the examples' mean loss by weight, which is returned; in micro-batches, and of this
    process's share of the examples."""
    sizes = [len(target_ids(lm, example, recipe.max_target_tokens)) for example in examples]
    by_length = [examples[i] for i in np.argsort(sizes, kind="stable")]  # little padding: 3.0 s a step and not 5.1
    mine = processes.share(by_length)
    total = weight = 0.0
    for start in range(0, len(mine), recipe.batch):
        found, counts = objective(lm, say, live, mine[start : start + recipe.batch], recipe.max_target_tokens)
        (found * counts).sum().backward()
        total, weight = total + float((found.detach() * counts).sum()), weight + float(counts.sum())
    weight = processes.total(weight)
    for tensor in live.values():
        if tensor.grad is not None:
            tensor.grad /= weight  # the same whatever the micro-batches
    return total / weight
