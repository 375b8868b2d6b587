"""The scorers that rank the feed, side by side on Jester: does each tell what this person finds funnier?

The first `limit` people by the hash of their id are judged, the `people` after them teach what learns from many; every
fifth of these stops it. A fifth of the jokes is rated by nobody who teaches, and stands in nobody's profile. A scorer
is told a half of what somebody rated of the others, and asked about the rest of these (`rated`) and about the new ones
(`unseen`): of two jokes, is the one with the higher rating put higher? With the control the half is somebody
else's, without the jokes that are asked about.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collectors.item import Item, Signal
from engine.profile import Profile, build
from engine.recommend.apart import popularity, without
from engine.recommend.like import EDGES
from engine.recommend.local_judge import LocalJudge
from engine.recommend.next_text import KEPT
from engine.recommend.scorer import Scorer, Texts
from engine.recommend.scorers import JUDGE, PLAIN, TAUGHT
from engine.state import parameters
from studies.benchmarks import jester
from studies.benchmarks.jester_intervals import half_over_both
from studies.benchmarks.rows import ALL, at_least_one, circle, model, of_methods
from studies.benchmarks.runs import CannotRun, Cell, Done, Row
from studies.benchmarks.scores import WRONG, Floats, ratio, within_users

ASKED_OF_A_MODEL = 20  # people whom the local model judges: it reads a prompt for each text
STOPPING = 5  # of those who teach every so manieth stops
FLOORS = ("random", "popularity")
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Settings:
    """`steps` are of each recommender that learns from `people`."""

    data: Path
    limit: int = 200
    people: int = 500
    seeds: int = 3
    steps: int = 200
    model: str = ""
    methods: tuple[str, ...] = ALL


def files(settings: Settings) -> list[Path]:
    return jester.files(jester.Settings(settings.data))


def cells(settings: Settings) -> Iterator[Cell]:
    at_least_one(settings, "limit", "people", "steps")
    crowd(settings, 0)
    yield from of_methods(_all_cells(settings), settings.methods)


def _all_cells(settings: Settings) -> Iterator[Cell]:
    for seed in range(settings.seeds):
        for name in (*FLOORS, *PLAIN, *TAUGHT, JUDGE):
            for wrong in (False, True)[: 1 + (name not in FLOORS)]:
                yield Cell({"method": f"{name}{WRONG * wrong}", "seed": seed}, _cell(settings, name, seed, wrong))


@dataclass(frozen=True, eq=False)
class Crowd:
    """Who teaches, who stops it, and of who is judged what is told of them, and which jokes they are asked about: the
    ratings of these (U, J), nan for none, and which of them nobody rated who teaches (J,)."""

    teach: list[Profile]
    stop: list[Profile]
    told: list[Profile]
    asked: Floats
    new: NDArray[np.bool_]
    jokes: Texts


@cache
def crowd(settings: Settings, seed: int) -> Crowd:
    """Raises CannotRun."""
    rated, vectors, texts = jester.table(settings.data, settings.limit + settings.people)
    if len(rated) <= settings.limit:
        raise CannotRun(f"{settings.data} holds {len(rated)} people, so nobody is left to teach: lower --limit")
    dice = np.random.default_rng([seed, 10])
    new = np.zeros(len(texts), bool)
    new[dice.permutation(len(texts))[: len(texts) // jester.FOLDS]] = True
    jokes = Texts(texts, np.asarray(vectors, np.float32))
    asked, told = rated[: settings.limit].copy(), []
    for user, ratings in enumerate(asked):
        old = dice.permutation(np.flatnonzero(~np.isnan(ratings) & ~new))
        half = old[: len(old) // 2]
        told.append(profile(f"judged-{user}", ratings, half, jokes))
        ratings[half] = np.nan
    others = [
        profile(f"teaches-{user}", ratings, dice.permutation(np.flatnonzero(~np.isnan(ratings) & ~new)), jokes)
        for user, ratings in enumerate(rated[settings.limit :])
    ]
    stop = others[::STOPPING]
    return Crowd([who for who in others if who not in stop], stop, told, asked, new, jokes)


def profile(user: str, ratings: Floats, rows: Places, jokes: Texts) -> Profile:
    """Somebody who rated these jokes, in this order; a rating above 0 is a like."""
    known = {text: vector for text, vector in zip(jokes.texts, jokes.vectors, strict=True)}
    items = [Item("jester", str(row), "joke", jokes.texts[row]) for row in rows.tolist()]
    signs = [1 if ratings[row] > 0 else -1 for row in rows.tolist()]
    reactions = [(item, Signal(item.id, sign)) for item, sign in zip(items, signs, strict=True)]
    return build(user, reactions, encode=lambda some: np.stack([known[text] for text in some]), topics=False)


def _cell(settings: Settings, name: str, seed: int, wrong: bool) -> Callable[[], Done]:
    def computed() -> Done:
        who = crowd(settings, seed)
        scorer, figures = scoring(settings, name, seed)
        asked = who.asked[:ASKED_OF_A_MODEL] if name == JUDGE else who.asked
        said = np.full(asked.shape, np.nan)
        for n, other in enumerate(circle(len(asked), [seed, 3]) if wrong else range(len(asked))):
            there = np.flatnonzero(~np.isnan(asked[n]))
            some = Texts(tuple(who.jokes.texts[row] for row in there), who.jokes.vectors[there])
            said[n, there] = scorer.score(without(who.told[other], some.texts), some)
        found: Row = {"people": len(asked), **figures}
        lines: list[tuple[object, ...]] = []
        for protocol, jokes in (("rated", ~who.new), ("unseen", who.new)):
            user, joke = np.nonzero(~np.isnan(asked) & jokes)
            truth, scores = asked[user, joke], said[user, joke]
            found[protocol], found[f"{protocol}_half"] = ratio(*within_users(truth, scores, user))
            found[f"{protocol}_half_jokes"] = half_over_both(truth, scores, user, joke, len(asked))
            lines += zip(user.tolist(), joke.tolist(), truth.tolist(), scores.round(5).tolist(), strict=True)
        return Done(found, lines)

    return computed


@dataclass(frozen=True, eq=False)
class AtRandom:
    dice: np.random.Generator

    def score(self, profile: Profile, items: Texts) -> NDArray[np.float32]:
        return self.dice.random(len(items)).astype(np.float32)


def scoring(settings: Settings, name: str, seed: int) -> tuple[Scorer, Row]:
    """The scorer of this name, and what it cost to teach."""
    if name == "random":
        return AtRandom(np.random.default_rng([seed, 11])), {}
    if name == "popularity":
        return popularity(crowd(settings, seed).teach), {}
    if name == JUDGE:
        return LocalJudge(model(settings.model)), {}
    return (PLAIN[name], {}) if name in PLAIN else _taught(settings, name, seed)


@cache
def _taught(settings: Settings, name: str, seed: int) -> tuple[Scorer, Row]:
    who, lm, recommender = crowd(settings, seed), model(settings.model), TAUGHT[name]
    recipe = replace(recommender.recipe, steps=settings.steps, seed=seed)
    out = recommender.teach(lm, who.teach, who.stop, recipe)
    learned = {key: tensor for key, tensor in out.state.items() if not key.startswith((*KEPT, EDGES))}
    figures: Row = {"train_seconds": out.seconds, "trained_parameters": parameters(learned)}
    figures |= {"before": -out.before, "after": -out.after, "ended": out.ended}
    return recommender.knowing(lm, out.state), figures
