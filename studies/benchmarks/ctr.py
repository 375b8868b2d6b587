"""Like prediction: will this person like this item? On Jester's jokes that nobody has rated, on MovieLens by time, and
on public sets of clicks (Avazu, Criteo) as they lie.

Each predictor sees the fields of a row and, with "+ text", the vector of the item's text, the same for all; with
"+ reading" the language model has the text in its prompt too. Log-loss and calibration say how far a probability can be
believed, pair accuracy within a person whether of two items the better one is named. Every row but the floors has a
control that is given what is somebody else's.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

from engine.optimise import Recipe
from engine.recommend.ctr import LLMCTR, Text, predicted, teach
from engine.recommend.features import FeatureError, Places, Shown
from engine.state import parameters
from studies.benchmarks import ctr_data, ctr_rows
from studies.benchmarks.ctr_data import Task
from studies.benchmarks.ctr_rows import Made
from studies.benchmarks.jester_intervals import half_over_both
from studies.benchmarks.rows import ALL, at_least_one, model, of_methods
from studies.benchmarks.runs import CannotRun, Cell, Done, Row
from studies.benchmarks.scores import WRONG, Floats, Z, ratio, within_users

TEXT, READ = " + text", " + reading"
STOPPING = 1500  # rows at most by which a language model is stopped
GIVEN: dict[str, Text] = {"": "none", TEXT: "vector", READ: "both"}
BINS = 15  # of the calibration error
RESAMPLES = 200
QUESTION = "Will this person like {what}? Answer 1 for yes and 0 for no."
READING = f"{{text}}\n\n{QUESTION}"
LEARNED = {
    "LLM-CTR one phase": LLMCTR(phases="one"),
    "LLM-CTR two phases": LLMCTR(phases="two"),
    "LLM-CTR over the encoder": LLMCTR(phases="over"),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The rows of at most `limit` people, the first by the hash of their id. A language model learns in `steps` steps
    of `batch` times sixteen rows."""

    data: Path
    limit: int = 500
    seeds: int = 3
    model: str = ""
    methods: tuple[str, ...] = ALL
    steps: int = 150
    batch: int = 4
    lr: float = 3e-3


def files(settings: Settings) -> list[Path]:
    return ctr_data.files(settings.data)


def cells(settings: Settings) -> Iterator[Cell]:
    at_least_one(settings, "limit", "steps", "batch")
    yield from of_methods(_all_cells(settings), settings.methods)


def _all_cells(settings: Settings) -> Iterator[Cell]:
    first = parted(settings, 0)
    texts = len(first.shown.texts) > 1
    fits = [f"{name}{with_text}" for name in ctr_rows.ROWS for with_text in ("", TEXT)[: 1 + texts]]
    fits += [f"{name}{given}" for name in LEARNED for given in ("", TEXT, READ)[: 1 + 2 * texts]]
    for seed in range(settings.seeds):
        for name in ("random", "base rate", *(first.floors or ())):
            yield Cell({"method": name, "seed": seed}, _floor(settings, name, seed))
        for name in fits:
            for wrong in (False, True)[: 1 + (first.other is not None)]:
                yield Cell({"method": f"{name}{WRONG * wrong}", "seed": seed}, _cell(settings, name, seed, wrong))


@cache
def parted(settings: Settings, seed: int) -> Task:
    """Raises CannotRun."""
    try:
        task = ctr_data.task(settings.data, settings.limit, seed)
    except FeatureError as error:
        raise CannotRun(f"{settings.data}: {error}") from error
    for rows, what in ((task.teach, "teach"), (task.stop, "stop what learns"), (task.test, "are judged")):
        if len(np.unique(task.shown.labels[rows])) < 2:
            raise CannotRun(f"the {len(rows)} rows of {settings.data} that {what} have not both labels: take more rows")
    return task


def _floor(settings: Settings, name: str, seed: int) -> Callable[[], Done]:
    def computed() -> Done:
        task = parted(settings, seed)
        judged = task.shown.at(task.test)
        if name == "random":
            said = np.random.default_rng([seed, 9]).random(len(judged))
        elif name == "base rate":
            said = np.full(len(judged), task.shown.labels[task.teach].mean())
        else:
            return _done(task, (task.floors or {})[name][task.test], {}, likely=False)
        return _done(task, said, {})

    return computed


def _cell(settings: Settings, name: str, seed: int, wrong: bool) -> Callable[[], Done]:
    def computed() -> Done:
        task = parted(settings, seed)
        made, figures = _fitted(settings, name, seed)
        whole = task.other if wrong and task.other else task.shown
        return _done(task, made(_visible(task, whole, name).at(task.test)), figures)

    return computed


def _visible(task: Task, shown: Shown, name: str) -> Shown:
    """Rows as a method sees them: without text, none of the fields that texts made."""
    plain = not name.endswith((TEXT, READ))
    return shown.only([field for field in shown.fields.names if not (plain and field in task.textual)])


@cache
def _fitted(settings: Settings, name: str, seed: int) -> tuple[Made, Row]:
    task = parted(settings, seed)
    shown = _visible(task, task.shown, name)
    taught, stop = shown.at(task.teach), shown.at(task.stop)
    plain = name.removesuffix(TEXT).removesuffix(READ)
    if plain in ctr_rows.ROWS:
        return ctr_rows.ROWS[plain](taught, stop, name.endswith(TEXT), seed)
    lm = model(settings.model)
    method = LEARNED[plain]
    question = (READING if name.endswith(READ) else QUESTION).replace("{what}", task.what)
    method = replace(method, question=question, text=GIVEN[name[len(plain) :]])
    few = stop.at(np.random.default_rng([seed, 4]).permutation(len(stop))[:STOPPING])
    recipe = Recipe(
        steps=settings.steps, batch=settings.batch, accumulate=1, lr=settings.lr, evaluate_every=25, seed=seed
    )
    found = teach(lm, method, taught, few, recipe)
    looks = [round(-look, 4) for *_, look in found.curve if not math.isnan(look)]
    figures: Row = {"train_seconds": found.seconds, "trained_parameters": parameters(found.state)}
    figures |= {"validation_auc": -found.after, "ended": found.ended, "looks": looks}
    return lambda rows: predicted(lm, method, found.state, rows), figures


# ---- figures


def _done(task: Task, said: Floats, figures: Row, *, likely: bool = True) -> Done:
    """Of a score that is no probability only the order counts."""
    judged, truth = task.shown.at(task.test), task.truth[task.test]
    share, half = ratio(*within_users(truth, said, judged.people))
    found: Row = {
        "n": len(judged),
        "people": len(np.unique(judged.people)),
        "auc": float(roc_auc_score(judged.labels, said)),
        "auc_half": auc_half(judged.labels, said, judged.people),
    }
    if likely:
        error, curve = calibration(judged.labels, said)
        found |= {"logloss": float(log_loss(judged.labels, np.clip(said, 1e-6, 1 - 1e-6)))}
        found |= {"accuracy": float(((said > 0.5) == judged.labels).mean()), "ece": error, "calibration": curve}
    if task.other is not None:  # somebody is judged more than once
        found |= {"pair_accuracy": share, "pair_accuracy_half": half}
        both = half_over_both(truth, said, judged.people, judged.items, int(judged.people.max()) + 1)
        found |= {"pair_accuracy_half_jokes": both}
    lines = zip(judged.people.tolist(), judged.items.tolist(), truth.tolist(), said.round(5).tolist(), strict=True)
    return Done({**found, **figures}, lines)


def calibration(labels: Places, said: Floats) -> tuple[float, list[tuple[float, float, int]]]:
    """The expected calibration error over bins of equal width, and of each bin with rows: the mean probability, the
    share of likes, how many rows (Naeini et al., AAAI 2015)."""
    which = np.minimum((said * BINS).astype(int), BINS - 1)
    bins = [which == n for n in range(BINS)]
    curve = [(float(said[b].mean()), float(labels[b].mean()), int(b.sum())) for b in bins if b.any()]
    error = sum(abs(p - share) * n for p, share, n in curve) / len(labels)
    return float(error), [(round(p, 3), round(share, 3), n) for p, share, n in curve]


def auc_half(labels: Places, said: Floats, people: Places) -> float:
    """Half of the 95 % interval of the AUC over people, whom a bootstrap draws whole."""
    dice, order = np.random.default_rng(0), np.argsort(people, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(people[order])) + 1)  # of each person
    found = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([rows[n] for n in dice.integers(0, len(rows), len(rows))])
        if len(np.unique(labels[drawn])) == 2:
            found.append(roc_auc_score(labels[drawn], said[drawn]))
    return float(Z * np.std(found)) if found else float("nan")
