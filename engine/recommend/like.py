"""Will this person like this text, by the language model that says yes or no (`ctr`), as a scorer of any text.

All that is known of a person are their likes and dislikes, so the fields of a showing are how many these are, the share
of likes, how near the text lies to them, and how long it is; its vector is a field of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from engine.backbone import Backbone
from engine.methods.base import State
from engine.optimise import Progress, Recipe, Trained
from engine.profile import Profile, narrowed
from engine.recommend import ctr
from engine.recommend.apart import halves
from engine.recommend.ctr import LLMCTR
from engine.recommend.features import Fields, Shown, edges_of, ranged
from engine.recommend.recommender import Recommender
from engine.recommend.scorer import Floats, Scorer, Texts
from engine.recommend.taste import by_topic, cosine

Columns = dict[str, NDArray[np.float64]]
STOPPING = 1_500  # held-out rows at most by which it is stopped: each look asks the model about all
EDGES = "edges."  # names of what the ranges of a field are kept by begin so
QUESTION = "Will this person find this text funny? Answer 1 for yes and 0 for no."


@dataclass(frozen=True)
class Like(Recommender):
    name: ClassVar[str] = "ctr"
    recipe: ClassVar[Recipe] = Recipe(steps=100, batch=4, accumulate=1, evaluate_every=25)

    inner: LLMCTR = field(default_factory=lambda: LLMCTR(QUESTION, "vector", "over"))

    def teach(
        self,
        lm: Backbone,
        people: Sequence[Profile],
        held_out: Sequence[Profile],
        recipe: Recipe,
        *,
        checkpoint: Path | None = None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> Trained:
        """Each half of a person is asked about by what the other tells (`apart`)."""
        taught, stop = rows_of(people), rows_of(held_out)
        # in the precision they are kept in: shares of likes lie on the edges themselves
        edges = {name: edges_of(column).astype(np.float32).astype(float) for name, column in taught.columns.items()}
        held = stop.shown(edges)
        few = held.at(np.random.default_rng(recipe.seed).permutation(len(held))[:STOPPING])
        rows = taught.shown(edges)
        out = ctr.teach(lm, self.inner, rows, few, recipe, checkpoint=checkpoint, on_progress=on_progress)
        kept = {f"{EDGES}{name}": torch.from_numpy(edge).float().to(lm.device) for name, edge in edges.items()}
        return replace(out, state=out.state | kept)

    def knowing(self, lm: Backbone, state: State) -> Scorer:
        return _Knowing(lm, self.inner, state)


@dataclass(frozen=True, eq=False)
class Rows:
    """R showings, each of one of N texts: what is known of them, and whether they were liked (R,)."""

    columns: Columns
    labels: NDArray[np.int64]
    people: NDArray[np.int64]
    which: NDArray[np.int64]
    items: Texts

    def shown(self, edges: Columns) -> Shown:
        fields = Fields(tuple(edges), tuple(len(edge) + 2 for edge in edges.values()))
        ids = np.stack([ranged(self.columns[name], edge) for name, edge in edges.items()], 1)
        return Shown(fields, ids, self.labels, self.people, self.which, self.items.vectors, self.items.texts)


def columns(profile: Profile, items: Texts) -> Columns:
    """What is known when this person is shown each of N texts: of each field (N,)."""
    likes, dislikes = len(profile.liked), len(profile.disliked)
    return {
        "reactions": np.full(len(items), float(likes + dislikes)),
        "likes": np.full(len(items), (likes + 1) / (likes + dislikes + 2)),
        "nearness": cosine(profile, items.vectors).astype(float),
        "topic": by_topic(profile, items.vectors).astype(float),
        "length": np.array([len(text) for text in items.texts], float),
    }


def rows_of(people: Sequence[Profile]) -> Rows:
    """Every reaction of these people, by what the other half of the person tells."""
    numbers: dict[str, int] = {}
    vectors: list[Floats] = []
    parts: list[Columns] = []
    labels: list[int] = []
    whose: list[int] = []
    which: list[int] = []
    for n, who in enumerate(people):
        first, second = halves(who)
        for told, rest in ((first, second), (second, first)):
            some = Texts(tuple(who.items[row].text for row in rest), who.vectors[rest])
            parts.append(columns(narrowed(who, told), some))
            for row in rest:
                if who.items[row].text not in numbers:
                    numbers[who.items[row].text] = len(numbers)
                    vectors.append(who.vectors[row])
            labels += [int(who.signals[row].sign > 0) for row in rest]
            whose += [n] * len(rest)
            which += [numbers[text] for text in some.texts]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    items = Texts(tuple(numbers), np.stack(vectors))
    return Rows(joined, np.array(labels), np.array(whose), np.array(which), items)


class _Knowing:
    """What was learned, for the people and texts of today."""

    def __init__(self, lm: Backbone, method: LLMCTR, state: State) -> None:
        self.lm, self.method = lm, method
        self.learned = {name: tensor for name, tensor in state.items() if not name.startswith(EDGES)}
        edges = {name.removeprefix(EDGES): tensor for name, tensor in state.items() if name.startswith(EDGES)}
        order = columns(Profile("nobody"), Texts((), Profile("nobody").vectors))
        self.edges = {name: edges[name].double().cpu().numpy() for name in order}

    def score(self, profile: Profile, items: Texts) -> Floats:
        """p that the person likes each text (N,)."""
        if not len(items):
            return np.zeros(0, np.float32)
        zeros, which = np.zeros(len(items), np.int64), np.arange(len(items))
        shown = Rows(columns(profile, items), zeros, zeros, which, items).shown(self.edges)
        with self.lm.lock:
            return ctr.predicted(self.lm, self.method, self.learned, shown).astype(np.float32)
