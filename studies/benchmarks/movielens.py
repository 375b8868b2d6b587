"""Next item: of all films, which one did this person have next? On MovieLens.

All films are ranked but those that the person had before, none is sampled; whoever gives all films one score gets what
guessing gets. Split "last" leaves each person's last film to the test and the one before it to the validation, by which
whatever learns is stopped. Split "time" lets everybody learn from what was before one moment, and judges what those who
were there already had first after it. Every personal row has a control that is given somebody else's past.

`item_lm` rows read films as tokens in the language model: its adapters alone, then with a LoRA inside, which goes on
from them.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from engine.encoder import encode
from engine.optimise import Recipe, Trained
from engine.recommend import item_lm
from engine.recommend.clusters import catalogue, standard
from engine.recommend.item_lm import ItemLM, Shop
from engine.recommend.memory import Task, configured, needs
from engine.recommend.ranking import Floats, Places, ranks
from engine.state import parameters
from studies.benchmarks import movielens_files, movielens_rows
from studies.benchmarks.movielens_files import Films
from studies.benchmarks.movielens_rows import Known, Made, Parts
from studies.benchmarks.rows import ALL, at_least_one, circle, model, of_methods
from studies.benchmarks.runs import CannotRun, Cell, Done, Row
from studies.benchmarks.scores import WRONG

TOLD = "Films that somebody watched, oldest first:"
STOPPING = 400  # people by whose validation items a language model is stopped: each look reads all their histories
LOOKS = 10  # of these in a row of learning
INSIDE = 0.3  # of the rate at which the adapters learned alone, what they go on at beside a LoRA
LEARNED: dict[str, ItemLM] = {
    "item_lm": ItemLM(told=TOLD),
    "item_lm + LoRA": ItemLM(told=TOLD, tuning="lora"),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """At most `limit` people are judged, the first by the hash of their id. A language model learns in `steps` steps of
    `batch` histories."""

    data: Path
    split: Literal["last", "time"] = "last"
    limit: int = 10_000
    seeds: int = 3
    model: str = ""
    methods: tuple[str, ...] = ALL
    steps: int = 400
    batch: int = 16
    lr: float = 1e-3


def files(settings: Settings) -> list[Path]:
    return movielens_files.files(settings.data)


def cells(settings: Settings) -> Iterator[Cell]:
    at_least_one(settings, "limit", "steps", "batch")
    parted(settings)
    yield from of_methods(_all_cells(settings), settings.methods)


def _all_cells(settings: Settings) -> Iterator[Cell]:
    for seed in range(settings.seeds):
        for name, (_, personal) in (movielens_rows.ROWS | dict.fromkeys(LEARNED, (None, True))).items():
            for wrong in (False, True)[: 1 + personal]:
                yield Cell({"method": f"{name}{WRONG * wrong}", "seed": seed}, _cell(settings, name, seed, wrong))


def _cell(settings: Settings, name: str, seed: int, wrong: bool) -> Callable[[], Done]:
    def computed() -> Done:
        films, parts, people = parted(settings)
        made, figures = (_learned if name in LEARNED else _classic)(settings, name, seed)
        known, targets = [had for had, _ in parts.test], np.array([target for _, target in parts.test])
        given, before = strangers(known, seed) if wrong else known, time.monotonic()
        said = made(given)
        latency = (time.monotonic() - before) / len(known)
        found = ranks(said, targets, known)
        figures = {"people": len(known), "unsure": films.unsure, **figures, "latency": latency}
        for k in (10, 20):
            figures |= {f"ndcg{k}": float(found.ndcg(k).mean()), f"recall{k}": float(found.recall(k).mean())}
        figures |= {"mrr": float(found.mrr().mean()), "ndcg10_half": half(found.ndcg(10))}
        lines = zip(people, targets.tolist(), found.ahead.tolist(), found.ties.tolist(), strict=True)
        return Done(figures, lines)

    return computed


def half(values: Floats) -> float:
    """Half of the 95 % interval of a mean over people."""
    return float(1.96 * values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0


def memory(settings: Settings) -> Iterator[str]:
    """What each row that learns would need, in words; no weight is read. Raises CannotRun."""
    films, parts, _ = parted(settings)
    config, how = configured(settings.model or None)
    longest = max(len(history) for history in parts.taught)
    for name, method in LEARNED.items():
        told = 2 * len(method.told.split())  # tokens, roughly: the tokenizer is not read
        tokens = told + min(method.longest, longest)
        task = Task(len(films.ids), standard(len(films.ids)), settings.batch, tokens, hidden=method.hidden)
        yield f"{name}: {needs(config, how, method.tuning, task).words()}"


# ---- people


@cache
def parted(settings: Settings) -> tuple[Films, Parts, tuple[str, ...]]:
    """All films, what teaches and judges, and who is judged. Raises CannotRun."""
    films = movielens_files.read(settings.data)
    if settings.split == "last":
        taught, validation, test = _last(films)
    elif settings.split == "time":
        taught, validation, test = _by_time(films, movielens_files.times(settings.data))
    else:
        raise CannotRun(f"{settings.split!r} is no split: use last or time")
    judged = movielens_files.first(test, settings.limit)
    if not judged or not validation:
        raise CannotRun(f"nobody of {settings.data} has films enough to be judged: take more ratings")
    people = tuple(person for person in films.people if person in judged)
    parts = Parts(len(films.ids), taught, list(validation.values()), [test[person] for person in people])
    return films, parts, people


Split = tuple[tuple[Places, ...], dict[str, tuple[Places, int]], dict[str, tuple[Places, int]]]


def _last(films: Films) -> Split:
    long = {person: had for person, had in zip(films.people, films.histories, strict=True) if len(had) > 2}
    validation = {person: (had[:-2], int(had[-2])) for person, had in long.items()}
    return tuple(had[:-2] for had in long.values()), validation, {p: (h[:-1], int(h[-1])) for p, h in long.items()}


def _by_time(films: Films, times: dict[str, Places]) -> Split:
    """Eight tenths of all ratings teach, a tenth stops, a tenth judges: of each person the first film in it."""
    first, second = np.quantile(np.concatenate(list(times.values())), (0.8, 0.9))
    taught: list[Places] = []
    validation: dict[str, tuple[Places, int]] = {}
    test: dict[str, tuple[Places, int]] = {}
    for person, had in zip(films.people, films.histories, strict=True):
        before, until = (int(np.searchsorted(times[person], moment)) for moment in (first, second))
        taught += [had[:before]] if before else []
        validation |= {person: (had[:before], int(had[before]))} if 0 < before < until else {}
        test |= {person: (had[:until], int(had[until]))} if 0 < until < len(had) else {}
    return tuple(taught), validation, test


def strangers(known: Known, seed: int) -> list[Places]:
    """Somebody else's past for each: everybody's stands in once, for the next of a circle drawn by the seed."""
    return [known[n] for n in circle(len(known), [seed, 3])]


# ---- rows


@cache
def _classic(settings: Settings, name: str, seed: int) -> tuple[Made, Row]:
    return movielens_rows.ROWS[name][0](parted(settings)[1], seed)


@cache
def shop(settings: Settings) -> tuple[Shop, Places]:
    """The films by their texts, and the number there of each of the data's."""
    films, parts, _ = parted(settings)
    items = catalogue(films.ids, encode(films.texts))
    numbers = items.numbers(films.ids)
    order = np.argsort(numbers)
    return Shop(items, parts.counts[order], tuple(films.texts[n] for n in order)), numbers


@cache
def _taught(settings: Settings, name: str, seed: int) -> Trained:
    """What a row has learned; a LoRA goes on from the adapters, and their seconds are its own as well."""
    (films, numbers), parts, method = shop(settings), parted(settings)[1], LEARNED[name]
    lm = model(settings.model)
    state, before = item_lm.born(lm, method, films), 0.0
    if method.tuning != "frozen":
        first = _taught(settings, "item_lm", seed)
        state, before = item_lm.with_backbone(lm, method, first.state), first.seconds
    stop = parts.validation[:: max(1, len(parts.validation) // STOPPING)]
    held_out = [(numbers[had], int(numbers[target])) for had, target in stop]
    steps, lr = settings.steps, settings.lr * (1.0 if method.tuning == "frozen" else INSIDE)
    recipe = Recipe(steps, settings.batch, accumulate=1, lr=lr, evaluate_every=max(1, steps // LOOKS), seed=seed)
    trained = item_lm.teach(lm, method, films, state, [numbers[had] for had in parts.taught], held_out, recipe)
    return replace(trained, seconds=before + trained.seconds)


def _learned(settings: Settings, name: str, seed: int) -> tuple[Made, Row]:
    (films, numbers), lm, method = shop(settings), model(settings.model), LEARNED[name]
    trained = _taught(settings, name, seed)

    def scored(known: Known) -> Floats:
        return item_lm.scores(lm, method, films, trained.state, [numbers[had] for had in known])[:, numbers]

    figures = {"train_seconds": trained.seconds, "trained_parameters": parameters(trained.state)}
    return scored, {**figures, "validation_ndcg10": -trained.after, "ended": trained.ended}
