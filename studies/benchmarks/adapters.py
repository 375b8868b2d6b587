"""What an adapter of one's own is worth on real people: Jester raters that no population holds, on jokes 81 to 100.

Each person's adapters learn from their likes among jokes 1 to 80, and judge jokes 81 to 100, which nothing was ever
taught. Two figures a person: the log-likelihood a token of the jokes they liked, and how often a joke they liked is
more likely than one they disliked, of all such pairs. Floors: the model without and with the task adapter, and how well
everybody else liked a joke. Control: the adapter of the person before in the list. Intervals are over people.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors.item import Item, Signal, read_reactions, text_id
from engine.backbone import Backbone
from engine.fitting import beginning, fit, lessons, recipe_for
from engine.learning import says, stand_on
from engine.methods.base import Ask, Method, State
from engine.methods.dpo import DPO
from engine.methods.lora import LoRA
from engine.methods.none import NoProfile
from engine.optimise import Recipe
from engine.pretrained.population import NEUTRAL, RATING_LIMIT, TEST_JOKES, held_out, jester_jokes, ratings_of
from engine.profile import Profile, build
from engine.train import Example, each

LEAST_JUDGED = 10
MOST_LIKES = 24  # that an adapter learns from, the strongest: a fit stays under a minute
LAMBDA = 0.1  # of CoPe
READ = Recipe(batch=8, max_target_tokens=96)

Scores = dict[str, float]  # joke text -> log-likelihood a token
Figures = dict[str, float]  # of one person, by name


@dataclass(frozen=True, eq=False)
class Rater:
    """A person to learn from (`profile`, jokes 1 to 80) and to be judged by (jokes 81 to 100: text, liked or not)."""

    profile: Profile
    judged: tuple[tuple[str, bool], ...]


def run(data: Path, populations: Sequence[Path], folder: Path, people: int, fitted: int, seeds: int) -> Iterator[str]:
    """Lines of JSON: one a fit, and after each seed the table so far. `folder` holds the task adapter."""
    crowd = {user for path in populations for user, _ in read_reactions(path)}
    found, popularity = raters(data, crowd, people)
    plain, based = Backbone.load(), Backbone.load()
    stand_on(based, folder)
    texts = sorted({text for rater in found for text, _ in rater.judged})
    nobody, floor = Profile("nobody"), NoProfile()
    none, tam = (scored(lm, floor, {}, nobody, texts) for lm in (plain, based))
    everybody: dict[str, list[Figures]] = {
        "popularity": [figures(popularity, rater) for rater in found],
        "none": [figures(none, rater) for rater in found],
        "tam": [figures(tam, rater) for rater in found],
    }
    few = found[:fitted]
    rows: dict[str, list[list[Figures]]] = {}
    for seed in range(seeds):
        states = [beginning(based, LoRA(), folder, rater.profile) for rater in few]
        for method in (LoRA(), DPO()):  # each goes on from the one before
            for n, rater in enumerate(few):
                given = lessons(method, rater.profile, seed)
                recipe = replace(recipe_for(method, len(given.taught)), seed=seed)
                out = fit(based, method, given, states[n], recipe)
                states[n] = out.state
                yield json.dumps({"seed": seed, "user": rater.profile.user, "method": method.name,
                                  "before": round(out.before, 4), "after": round(out.after, 4),
                                  "seconds": round(out.seconds, 1)})  # fmt: skip
            for n, rater in enumerate(few):
                mine = scored(based, method, states[n], rater.profile, [text for text, _ in rater.judged])
                wrong = scored(based, method, states[n - 1], rater.profile, [text for text, _ in rater.judged])
                contrast = {text: mine[text] - LAMBDA * tam[text] for text in mine}
                said = {"": mine, ", wrong person": wrong, ", contrasted": contrast}
                said |= {f"{name}, over the base": _less(said[name], tam) for name in ("", ", wrong person")}
                for name, scores in said.items():
                    rows.setdefault(method.name + name, [[] for _ in few])[n].append(figures(scores, rater))
        yield json.dumps({"people": len(found), "fitted": len(few), "seeds": seed + 1, "table": table(everybody, rows)})


def table(everybody: Mapping[str, list[Figures]], rows: Mapping[str, list[list[Figures]]]) -> dict[str, Any]:
    """Floors on all people and on those with adapters; each way of these people, and its gain over the base."""
    few = len(next(iter(rows.values())))
    made: dict[str, Any] = {}
    for name, people in everybody.items():
        made[f"{name}, all"] = summed([[one] for one in people])
        made[name] = summed([[one] for one in people[:few]])
    bases = everybody["tam"][:few]
    return made | {name: summed(people) | {"over_tam": gained(people, bases)} for name, people in rows.items()}


def raters(data: Path, crowd: set[str], people: int) -> tuple[list[Rater], Scores]:
    """People of the held-out side whom no population holds, and every test joke's mean rating by all others."""
    jokes, sums = jester_jokes(data), {n: np.zeros(2) for n in TEST_JOKES}
    found: list[tuple[str, Rater]] = []
    for user, rows in groupby(ratings_of(data), key=lambda row: row[0]):
        given = {joke: rating / RATING_LIMIT for _, joke, rating in rows if abs(rating) <= RATING_LIMIT}
        told = {joke: rating for joke, rating in given.items() if abs(rating) > NEUTRAL}
        judged = tuple((jokes[n].text, told[n] > 0) for n in sorted(TEST_JOKES & told.keys()))
        mine = {n: rating for n, rating in told.items() if n not in TEST_JOKES}
        liked = sorted((n for n in mine if mine[n] > 0), key=lambda n: (-mine[n], n))[:MOST_LIKES]
        if (
            held_out("jester", user)
            and f"jester-{user}" not in crowd
            and len(judged) >= LEAST_JUDGED
            and len({liked for _, liked in judged}) == 2
            and len(liked) >= MOST_LIKES
        ):
            disliked = [n for n in mine if mine[n] < 0]
            reactions = [_reaction(jokes[n], 1 if mine[n] > 0 else -1) for n in [*disliked, *reversed(liked)]]
            found.append((user, Rater(build(f"jester-{user}", reactions, topics=False), judged)))
        else:
            for n in TEST_JOKES & given.keys():
                sums[n] += given[n], 1
    found.sort(key=lambda pair: text_id(f"adapters|{pair[0]}"))
    means = {jokes[n].text: float(total / max(1, count)) for n, (total, count) in sums.items()}
    return [rater for _, rater in found[:people]], means


def _reaction(item: Item, sign: int) -> tuple[Item, Signal]:
    return item, Signal(item.id, sign)


def scored(lm: Backbone, method: Method, state: State, profile: Profile, texts: Sequence[str]) -> Scores:
    """The log-likelihood a token of each text, asked for a joke about anything."""
    found, _ = each(lm, says(lm, method), state, [Example(profile, Ask(), text) for text in texts], READ)
    return {text: -float(loss) for text, loss in zip(texts, found, strict=True)}


def _less(scores: Scores, base: Scores) -> Scores:
    """What lies above a base: of scores the implicit reward, a token (CoPe, arXiv 2506.12109, section 3.2)."""
    return {text: score - base[text] for text, score in scores.items()}


def figures(scores: Mapping[str, float], rater: Rater) -> Figures:
    likes = np.array([scores[text] for text, liked in rater.judged if liked])
    dislikes = np.array([scores[text] for text, liked in rater.judged if not liked])
    above, equal = likes[:, None] > dislikes, likes[:, None] == dislikes
    return {"likelihood": float(likes.mean()), "accuracy": float((above + equal / 2).mean())}


def summed(people: Sequence[Sequence[Figures]]) -> dict[str, str]:
    """Means over people of their means over seeds, with 1.96 standard errors over people."""
    return {name: _told([np.mean([one[name] for one in seeds]) for seeds in people]) for name in people[0][0]}


def gained(people: Sequence[Sequence[Figures]], floor: Sequence[Figures]) -> dict[str, str]:
    """The same of each person's difference to the floor."""
    return summed([[_less(one, f) for one in seeds] for seeds, f in zip(people, floor, strict=True)])


def _told(values: Sequence[np.floating | float]) -> str:
    numbers: NDArray[np.float64] = np.asarray(values, float)
    error = 1.96 * numbers.std(ddof=1) / len(numbers) ** 0.5
    return f"{numbers.mean():.4f} +- {error:.4f}"
