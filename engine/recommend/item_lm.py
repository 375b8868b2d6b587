"""Next item by a language model that reads items as tokens of their own (EfficientIDs, arXiv 2509.03746).

Every item is a learned vector that begins as the vector of its text, so that an item nobody has had can be read and
ranked as well. A small network lifts it to the model's width, where it stands among text tokens; another leads the
hidden state back, and a softmax in two levels says what comes next. At birth that one says nothing, and what is left
are the biases, which begin as the logarithms of how often an item was had: a model that has learned nothing ranks by
popularity.

A sequence is a list of codes: token ids of text, and ~n (that is, -1 - n) for item n.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine import encoder, processes
from engine.backbone import Backbone
from engine.methods.base import State
from engine.methods.parts import as_tokens, dropped, linear, linear_born, norm, norm_born, seeded
from engine.optimise import Progress, Recipe, Trained, TrainError, drawn_for, optimise
from engine.recommend import inside, memory
from engine.recommend.clusters import Catalogue
from engine.recommend.hierarchy import Softness, Table, log_p, losses, top, word_losses
from engine.recommend.inside import Tuning
from engine.recommend.ranking import ranks

Places = NDArray[np.int64]
Floats = NDArray[np.float64]
ROWS = 32  # that are scored at once


@dataclass(frozen=True)
class ItemLM:
    """What is read, and what learns: the adapters alone, a LoRA in the backbone too, or all of its decoder."""

    tuning: Tuning = "frozen"
    longest: int = 50  # the latest items that are read
    told: str = "This person had, oldest first:"
    titled: bool = False  # the text of each item stands before it
    words: bool = False  # these texts are foretold too, beside the clusters
    hidden: int = 512
    dropout: float = 0.2
    softness: Softness = field(default_factory=Softness)


@dataclass(frozen=True, eq=False)
class Shop:
    """A catalogue, how often each item was had (N,) by those who teach, and the text of each."""

    items: Catalogue
    counts: Places
    texts: tuple[str, ...]


def born(lm: Backbone, method: ItemLM, shop: Shop) -> State:
    """What is learned, as it begins, on the model's device: items (N, E + 1), clusters (C, E + 1), two adapters."""
    items, dice = shop.items, seeded(5)
    times = torch.log(torch.from_numpy(shop.counts) + 1.0)[:, None]  # one more for all: what nobody had is no -inf
    sums = torch.stack([part.logsumexp(0) for part in times.split(items.sizes.tolist())])
    width = items.vectors.shape[1]
    state = {
        "items": torch.cat([torch.from_numpy(items.vectors), times], 1),
        "clusters": torch.cat([torch.from_numpy(items.middles), sums], 1),
    }
    state |= linear_born("in.0", width, method.hidden, dice, std=width**-0.5)
    state |= linear_born("in.1", method.hidden, lm.width, dice)
    state |= norm_born("norm", lm.width) | linear_born("out.0", lm.width, method.hidden, dice)
    state |= linear_born("out.1", method.hidden, width, dice, std=0.0)
    return {name: tensor.float().to(lm.device) for name, tensor in state.items()}


def with_backbone(lm: Backbone, method: ItemLM, state: State) -> State:
    """The same with what is learned inside the backbone, as it begins. Raises TrainError."""
    return state | inside.begun(lm, method.tuning)


def grown(state: State, old: Places, items: Catalogue) -> State:
    """The state for a catalogue that new items have joined, whose numbers for the old ones are `old`: a new one is the
    vector of its text, and nobody has had it."""
    rows = torch.cat([torch.from_numpy(items.vectors), torch.zeros(len(items), 1)], 1).to(state["items"])
    rows[torch.from_numpy(old)] = state["items"]
    return state | {"items": rows}


def facts_of(lm: Backbone, method: ItemLM, items: Catalogue) -> dict[str, str]:
    """What a state must have been learned for, to be used here (`engine.state`)."""
    settings = hashlib.sha256(repr(method).encode()).hexdigest()[:8]
    return {"recommender": f"item_lm-{settings}", "backbone": lm.weights_id, "encoder": encoder.NAME} | {
        "catalogue": items.digest
    }


# ---- what is read


def codes(lm: Backbone, method: ItemLM, shop: Shop, history: Places) -> list[int]:
    """The sequence of a history of item numbers, oldest first, of which the latest are read."""
    if len(history) and not 0 <= history.min() <= history.max() < len(shop.items):
        raise TrainError(f"a history holds item {history.max()}: the {len(shop.items)} items are numbered from 0")
    found = lm.tokens(method.told)
    for n in history[-method.longest :].tolist():
        found += [*(lm.tokens(f" {shop.texts[n]}") if method.titled else ()), ~n]
    if len(found) > lm.context:
        raise TrainError(
            f"{len(found)} tokens of {method.longest} items: {lm.name} reads {lm.context}, lower `longest`"
        )
    return found


def queries(lm: Backbone, state: State, read: Tensor, dropout: float = 0.0) -> tuple[Tensor, Tensor]:
    """What is looked for after each code of (B, T): hidden states (B, T, D) and queries (B, T, E + 1)."""
    vectors = functional.embedding((~read).clamp(min=0), state["items"], sparse=True)[..., :-1]  # (B, T, E)
    lifted = linear(state, "in.1", functional.gelu(linear(state, "in.0", dropped(vectors, dropout))))
    words = inside.embedded(lm, state, read.clamp(min=0))  # (B, T, D)
    hidden = inside.hidden(lm, state, torch.where((read < 0)[..., None], as_tokens(lifted, lm).to(words.dtype), words))
    said = functional.gelu(linear(state, "out.0", dropped(norm(state, "norm", hidden.float()), dropout)))
    return hidden, functional.pad(linear(state, "out.1", dropped(said, dropout)), (0, 1), value=1.0)


def table(state: State, items: Catalogue, *, sparse: bool = False) -> Table:
    return Table(state["items"], state["clusters"], tuple(items.starts.tolist()), sparse)


@torch.no_grad()  # no inference mode: it would read the weights that are laid out for writing, not those that learned
def scores(
    lm: Backbone, method: ItemLM, shop: Shop, state: State, histories: Sequence[Places], rows: int = ROWS
) -> Floats:
    """log p of every item as the next one (U, N) after each history; of an empty one, as the first."""
    found = np.zeros((len(histories), len(shop.items)))
    sequences = [codes(lm, method, shop, history) for history in histories]
    order = sorted(range(len(sequences)), key=lambda n: len(sequences[n]))  # of like length together
    for start in range(0, len(order), rows):
        some = order[start : start + rows]
        read = _padded(lm, [sequences[n] for n in some])
        q = queries(lm, state, read)[1][torch.arange(len(some)), [len(sequences[n]) - 1 for n in some]]
        found[some] = log_p(q, table(state, shop.items)).double().cpu().numpy()
    return found


def best(lm: Backbone, method: ItemLM, shop: Shop, state: State, history: Places, k: int) -> tuple[list[str], Floats]:
    """The ids of the `k` likeliest next items that are not in the history, and their log p (k,); of a large catalogue
    not all is read."""
    with torch.no_grad():
        q = queries(lm, state, _padded(lm, [codes(lm, method, shop, history)]))[1][0, -1]
    numbers, said = top(q, table(state, shop.items), k, without=history.tolist())
    return [shop.items.ids[n] for n in numbers.tolist()], said.double().cpu().numpy()


def _padded(lm: Backbone, sequences: Sequence[Sequence[int]]) -> Tensor:
    """(B, T), padded on the right, where causal attention does not look."""
    longest = max(map(len, sequences))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in sequences], device=lm.device)


# ---- learning


def teach(
    lm: Backbone,
    method: ItemLM,
    shop: Shop,
    state: State,
    histories: Sequence[Places],
    held_out: Sequence[tuple[Places, int]],
    recipe: Recipe,
    *,
    checkpoint: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Trained:
    """Teach a state what follows what in `histories`; stopped by NDCG@10 of what follows the held-out ones, whose
    "loss" is its negative. What is learned inside the backbone learns at a tenth of the rate. Raises TrainError."""
    taught = [history for history in histories if len(history)]
    if not taught or not held_out:
        raise TrainError("there is nothing to learn from: give histories of one item at least, and some held out")
    known, targets = [history for history, _ in held_out], np.array([target for _, target in held_out])
    _room(lm, method, shop, recipe.batch, max(len(codes(lm, method, shop, history)) for history in taught[:100]))

    def gradients(live: State, step: int) -> float:
        dice = np.random.default_rng([recipe.seed, step])
        drawn = [_window(history, method.longest, dice) for history in drawn_for(taught, recipe, step)]
        sequences = processes.share(sorted((codes(lm, method, shop, history) for history in drawn), key=len))
        parts = [sequences[start : start + recipe.batch] for start in range(0, len(sequences), recipe.batch)]
        count = processes.total(sum(int(_foretold(lm, method, _padded(lm, part), part).sum()) for part in parts))
        total = 0.0
        for part in parts:
            loss = lost(lm, method, shop.items, live, part).sum() / count
            loss.backward()
            total += float(loss.detach())
        return total

    def judge(learned: State) -> float:
        looks = [  # some at once: of a million items each row is eight million bytes
            ranks(scores(lm, method, shop, learned, some), targets[start : start + len(some)], some).ndcg(10)
            for start, some in ((n, known[n : n + ROWS]) for n in range(0, len(known), ROWS))
        ]
        return -float(np.concatenate(looks).mean())

    with lm.learning():
        return optimise(state, gradients, judge, recipe, rate=inside.rate, sparse={"items"}, checkpoint=checkpoint,
                        on_progress=on_progress)  # fmt: skip


def _room(lm: Backbone, method: ItemLM, shop: Shop, rows: int, tokens: int) -> None:
    """Raises TrainError where memory will not do: a million items are no small matter."""
    task = memory.Task(len(shop.items), shop.items.clusters, rows, tokens, shop.items.vectors.shape[1], method.hidden)
    found = memory.needs(lm.model.config, lm.plan, method.tuning, task)
    if found.learned + found.batch > memory.free():  # the rest is there already
        raise TrainError(f"learning {len(shop.items):,} items {found.words()}: choose a smaller batch, or fewer items")


def lost(lm: Backbone, method: ItemLM, items: Catalogue, state: State, sequences: Sequence[Sequence[int]]) -> Tensor:
    """The loss of all that is foretold in these sequences (M,): the items, then the words."""
    read, shelves = _padded(lm, sequences), table(state, items, sparse=True)
    hidden, q = queries(lm, state, read[:, :-1], method.dropout)
    foretold, following = _foretold(lm, method, read, sequences), read[:, 1:]
    item, word = foretold & (following < 0), foretold & (following >= 0)

    def words(where: Tensor) -> Tensor:
        return lm.head(hidden[where].to(lm.model.dtype))

    logits = words(item) if method.words else None
    found = losses(q[item], ~following[item], shelves, logits, method.softness)
    if not method.words:
        return found
    return torch.cat([found, word_losses(q[word], following[word], shelves, words(word), method.softness)])


def _foretold(lm: Backbone, method: ItemLM, read: Tensor, sequences: Sequence[Sequence[int]]) -> Tensor:
    """Which codes but the first of (B, T) are foretold (B, T - 1): items and, with `words`, their texts."""
    place = torch.arange(1, read.shape[1], device=read.device)
    ends = torch.tensor([len(row) for row in sequences], device=read.device)[:, None]
    told = (place >= len(lm.tokens(method.told))) & (place < ends)
    return told if method.words else told & (read[:, 1:] < 0)


def _window(history: Places, longest: int, dice: np.random.Generator) -> Places:
    start = int(dice.integers(max(1, len(history) - longest + 1)))
    return history[start : start + longest]
