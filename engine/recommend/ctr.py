"""Will they like it: what is known of a showing as soft tokens of a language model, which says "1" or "0" (LLM-CTR).

Each field's value is a vector; a gate that is made of all of them multiplies each (generated features, GE4Rec, arXiv
2512.14041: the raw vector times the generated one, which the system this is named after loses on its way to the model);
a small network lifts each to the model's width, one soft token a field, at the end of the question. The item's text is
one more vector among these, or stands in the question, where a model reads it. The answer is a softmax over two tokens,
read after the template has closed the turn, where the model answers; at the last soft token itself it learned far more
slowly (log 2026-11-29).

At birth the gate is 1 and what is said is the share of likes. In two phases the vectors are learned first, without the
language model, by a small network on what the gate gives (`Encoded`, itself a baseline); then what lifts them, alone;
then both. "over" goes the same way, and what the model says is added to what that network says, times a number that is
born at 0: it begins as its baseline, and what it is better than that is the language model's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine import processes
from engine.backbone import PREFIX, Backbone
from engine.methods.base import State
from engine.methods.parts import as_tokens, dropped, linear, linear_born, norm, norm_born, seeded
from engine.optimise import Progress, Recipe, Trained, TrainError, drawn_for, optimise
from engine.recommend import inside
from engine.recommend.features import Places, Shown, fit_to_teach

TOGETHER = 16  # rows of one prompt that are learned from together
ENCODER = ("ids", "gate.", "text.", "probe.")  # names of what makes the vectors, and judges them alone
ENCODED = Recipe(steps=600, batch=256, accumulate=1, lr=1e-3, evaluate_every=50, patience=4)
ALONE, SLOWLY = 0.4, 0.3  # share of the steps in which what lifts learns alone; what the rate is multiplied by after it
Text = Literal["none", "vector", "prompt", "both"]
Phases = Literal["one", "two", "over"]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class LLMCTR:
    """What the model is asked, and what of the item it is given: nothing, its vector, its text where `{text}` stands in
    the question, or both."""

    question: str = "Will this person like it? Answer 1 for yes and 0 for no."
    text: Text = "none"
    phases: Phases = "one"
    tuning: inside.Tuning = "frozen"
    width: int = 16
    hidden: int = 512
    dropout: float = 0.1
    longest: int = 96  # tokens of a text in the question

    @property
    def embedded(self) -> bool:
        return self.text in ("vector", "both")

    @property
    def reads(self) -> bool:
        return self.text in ("prompt", "both")


# ---- what is known, as vectors


def encoder_born(method: LLMCTR, shown: Shown) -> State:
    """The vectors as they begin: of all values (sum of sizes, W), the gate, and what the text is read by."""
    dice, width = seeded(7), method.width
    wide = (len(shown.fields.sizes) + method.embedded) * width
    state = {"ids": torch.randn(sum(shown.fields.sizes), width, generator=dice) * 0.1}
    state |= linear_born("gate", wide, wide, dice) | {"gate.bias": torch.ones(wide)}
    if method.embedded:
        state |= linear_born("text", shown.vectors.shape[1], width, dice, std=shown.vectors.shape[1] ** -0.5)
    return state


def features(method: LLMCTR, state: State, shown: Shown) -> Tensor:
    """The gated vectors of each row (B, F, W): the fields, then the text's."""
    places = torch.from_numpy(shown.ids + shown.fields.starts).to(state["ids"].device)
    raw = functional.embedding(places, state["ids"], sparse=True)  # (B, F, W)
    if method.embedded:
        vectors = torch.from_numpy(shown.vectors[shown.items]).to(raw)
        raw = torch.cat([raw, linear(state, "text", vectors)[:, None]], 1)
    gate = functional.relu(linear(state, "gate", raw.flatten(1))).view_as(raw)
    return dropped(raw * gate, method.dropout)


def probe_born(method: LLMCTR, shown: Shown) -> State:
    wide, dice = (len(shown.fields.sizes) + method.embedded) * method.width, seeded(8)
    return linear_born("probe.0", wide, 64, dice, std=wide**-0.5) | linear_born("probe.1", 64, 1, dice, std=0.0)


def probed(method: LLMCTR, state: State, shown: Shown) -> Tensor:
    """Log-odds of a like (B,), by the vectors alone."""
    return _probed(state, features(method, state, shown))


def _probed(state: State, vectors: Tensor) -> Tensor:
    return linear(state, "probe.1", functional.relu(linear(state, "probe.0", vectors.flatten(1))))[:, 0]


# ---- what the language model makes of them


def born(lm: Backbone, method: LLMCTR, shown: Shown) -> State:
    """All that is learned, as it begins; its first answer is the share of likes among `shown`. Raises TrainError."""
    dice = seeded(9)
    state = encoder_born(method, shown)
    state |= linear_born("in.0", method.width, method.hidden, dice, std=method.width**-0.5)
    state |= linear_born("in.1", method.hidden, lm.width, dice) | norm_born("norm", lm.width)
    state = {name: tensor.to(lm.device) for name, tensor in state.items()} | inside.begun(lm, method.tuning)
    state["offset"] = torch.zeros(1, device=lm.device)
    some = shown.at(np.random.default_rng(0).permutation(len(shown))[: 8 * TOGETHER])
    share = float(np.clip(shown.labels.mean(), 0.01, 0.99))
    plain = replace(method, phases="one")
    said = np.log(share / (1 - share)) - float(np.mean(_all_odds(lm, plain, state, some)))
    return state | {"offset": torch.full((1,), said, device=lm.device)}  # its mean is that share


def odds(lm: Backbone, method: LLMCTR, state: State, shown: Shown) -> Tensor:
    """Log-odds of a like (B,) for rows whose prompt is the same: those of one item, where its text is read."""
    vectors = features(method, state, shown)  # (B, F, W)
    lifted = linear(state, "in.1", functional.gelu(linear(state, "in.0", vectors)))
    soft = as_tokens(norm(state, "norm", lifted), lm)  # (B, F, D)
    ids, closing = prompt_ids(lm, method, shown.texts[shown.items[0]] if method.reads else "")
    rest = torch.tensor([closing], device=lm.device)
    if method.tuning == "frozen" and not lm.base:  # nothing changes what the prompt is to the model
        told = torch.cat([soft.to(lm.model.dtype), lm.embed(rest).expand(len(shown), -1, -1)], 1)
        hidden = lm.hidden(told, lm.read(ids, len(shown)))
    else:
        asked, end = (
            inside.embedded(lm, state, some).expand(len(shown), -1, -1)
            for some in (torch.tensor([ids], device=lm.device), rest)
        )
        hidden = inside.hidden(lm, state, torch.cat([asked, soft.to(asked.dtype), end], 1))
    logits = lm.head(hidden[:, -1].contiguous().to(lm.model.dtype))  # (B, V)
    no, yes = answers(lm)
    said = logits[:, yes] - logits[:, no] + state["offset"]
    return _probed(state, vectors) + state["open"] * said if method.phases == "over" else said


def prompt_ids(lm: Backbone, method: LLMCTR, text: str) -> tuple[list[int], list[int]]:
    """The prompt before the soft tokens and after them."""
    question = method.question.replace("{text}", lm.cut(text, method.longest).replace(PREFIX, ""))
    before, after = lm.render([{"role": "user", "content": f"{question} What is known: {PREFIX}"}]).split(PREFIX)
    return lm.tokens(before), lm.tokens(after)


def answers(lm: Backbone) -> tuple[int, int]:
    """The tokens of "0" and "1". Raises TrainError where one of them is more than a token."""
    found = [lm.tokens(answer) for answer in ("0", "1")]
    if any(len(ids) != 1 for ids in found):
        raise TrainError(f'{lm.name} has no token of its own for "0" and for "1": choose another model')
    return found[0][0], found[1][0]


@torch.no_grad()
def predicted(lm: Backbone, method: LLMCTR, state: State, shown: Shown) -> Probabilities:
    """p of a like for each row (R,)."""
    return np.asarray(1 / (1 + np.exp(-_all_odds(lm, method, state, shown))))


@torch.no_grad()
def _all_odds(lm: Backbone, method: LLMCTR, state: State, shown: Shown) -> Probabilities:
    found = np.zeros(len(shown))
    for rows in _of_one_prompt(method, shown, np.arange(len(shown)), 8 * TOGETHER):
        found[rows] = odds(lm, method, state, shown.at(rows)).double().cpu().numpy()
    return found


def _of_one_prompt(method: LLMCTR, shown: Shown, rows: Places, most: int) -> list[Places]:
    """The rows in parts of at most so many that have one prompt."""
    if not method.reads:
        return [rows[start : start + most] for start in range(0, len(rows), most)]
    by_item = rows[np.argsort(shown.items[rows], kind="stable")]
    cuts = [0, *(np.flatnonzero(np.diff(shown.items[by_item])) + 1), len(by_item)]
    return [by_item[n : min(n + most, end)] for start, end in pairwise(cuts) for n in range(start, end, most)]


# ---- learning


@dataclass(frozen=True, eq=False)
class Encoded:
    """What is learned without the language model: vectors, gate, and the small network that judges them."""

    trained: Trained
    method: LLMCTR

    @torch.no_grad()
    def predicted(self, shown: Shown) -> Probabilities:
        return np.asarray(torch.sigmoid(probed(self.method, self.trained.state, shown)).double().numpy())


def encoded(method: LLMCTR, taught: Shown, held_out: Shown, seed: int = 0) -> Encoded:
    """The first phase of two. Raises TrainError and FeatureError."""
    fit_to_teach(taught, "that teach")
    fit_to_teach(held_out, "that stop it")
    share = float(taught.labels.mean())
    state = encoder_born(method, taught) | probe_born(method, taught)
    state["probe.1.bias"] = torch.full((1,), float(np.log(share / (1 - share))))
    recipe = replace(ENCODED, seed=seed)

    def gradients(live: State, step: int) -> float:
        rows = taught.at(np.array(processes.share(drawn_for(range(len(taught)), recipe, step))))
        loss = _entropy(probed(method, live, rows), rows) * (len(rows) / processes.total(len(rows)))
        loss.backward()
        return float(loss.detach())

    def judge(learned: State) -> float:
        with torch.no_grad():
            return -_auc(held_out, probed(method, learned, held_out).numpy())

    return Encoded(optimise(state, gradients, judge, recipe, sparse={"ids"}), method)


def teach(
    lm: Backbone,
    method: LLMCTR,
    taught: Shown,
    held_out: Shown,
    recipe: Recipe,
    *,
    checkpoint: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Trained:
    """Teach all of it, in one phase or in two; stopped by the AUC of the held-out rows, whose negative is its "loss". A
    step is `batch` parts of at most TOGETHER rows. A killed run goes on from its `checkpoint` in the phase that it was
    in; what came before is learned again. Raises TrainError and FeatureError."""
    fit_to_teach(taught, "that teach")
    fit_to_teach(held_out, "that stop it")
    state = born(lm, method, taught)
    if method.phases == "one":
        return _learned(lm, method, state, tuple(state), taught, held_out, recipe, checkpoint, on_progress)
    first = encoded(method, taught, held_out, recipe.seed).trained
    state |= {name: tensor.to(lm.device) for name, tensor in first.state.items()}
    if method.phases == "over":
        state["open"] = torch.zeros(1, device=lm.device)
    names = tuple(name for name in state if not name.startswith((*ENCODER, inside.ADAPTER, inside.OWN)))
    alone = replace(recipe, steps=max(1, round(ALONE * recipe.steps)))
    before = checkpoint.with_suffix(".alone") if checkpoint else None
    lifted = _learned(lm, method, state, names, taught, held_out, alone, before, on_progress)
    rest = replace(recipe, steps=max(1, recipe.steps - alone.steps), lr=SLOWLY * recipe.lr, seed=recipe.seed + 1)
    last = _learned(lm, method, lifted.state, tuple(state), taught, held_out, rest, checkpoint, on_progress)
    curve = (*lifted.curve, *((step + alone.steps, loss, held) for step, loss, held in last.curve[1:]))
    seconds = first.seconds + lifted.seconds + last.seconds
    return replace(last, curve=curve, before=lifted.before, seconds=seconds)


def _learned(
    lm: Backbone,
    method: LLMCTR,
    state: State,
    names: Sequence[str],
    taught: Shown,
    held_out: Shown,
    recipe: Recipe,
    checkpoint: Path | None,
    on_progress: Callable[[Progress], None],
) -> Trained:
    """Teach what has these names, the rest as it is."""
    fixed = {name: tensor for name, tensor in state.items() if name not in names}
    order = np.random.default_rng([recipe.seed, 5]).permutation(len(taught))
    parts = _of_one_prompt(method, taught, order, TOGETHER)

    def gradients(live: State, step: int) -> float:
        drawn = processes.share(drawn_for(parts, recipe, step))
        drawn = drawn if method.reads or not drawn else [np.concatenate(drawn)]
        count, total = processes.total(sum(map(len, drawn))), 0.0
        for rows in drawn:
            some = taught.at(rows)
            loss = _entropy(odds(lm, method, fixed | live, some), some) * len(rows) / count
            loss.backward()
            total += float(loss.detach())
        return total

    def judge(learned: State) -> float:
        return -_auc(held_out, _all_odds(lm, method, fixed | learned, held_out))

    with lm.learning():
        live = {name: state[name] for name in names}
        found = optimise(live, gradients, judge, recipe, rate=inside.rate, sparse={"ids"}, checkpoint=checkpoint,
                         on_progress=on_progress)  # fmt: skip
    return replace(found, state=fixed | found.state)


def _auc(shown: Shown, said: NDArray[np.floating]) -> float:
    from sklearn.metrics import roc_auc_score  # late: the app, which only scores, need not load it

    return float(roc_auc_score(shown.labels, said))


def _entropy(logits: Tensor, shown: Shown) -> Tensor:
    """The mean two-way cross-entropy: of log-odds it is that of the softmax over both tokens."""
    labels = torch.from_numpy(shown.labels).to(logits)
    return functional.binary_cross_entropy_with_logits(logits, labels)
