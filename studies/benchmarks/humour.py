"""Humour judged: which of two captions or headlines people found funnier, how funny a headline is, joke or news.

Captions of the New Yorker's contest: 20 pairs a cartoon, `captions 10` of ranks 1 to 20 against the 20 nearest to rank
1,000, `captions 30` of ranks 21 to 40 against the 20 nearest to rank 300. They are of the kind of arXiv 2502.20356,
section 4, and not its pairs. Cartoons are split by their number. Headlines are Humicroedit's (SemEval-2020 task 7, both
subtasks), judged on its development part; ties are left out of pairs. Jokes and news are split by row.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from engine import encoder
from engine.recommend.local_judge import LocalJudge
from studies.benchmarks.rows import ALL, model, of_methods
from studies.benchmarks.runs import CannotRun, Cell, Done
from studies.benchmarks.scores import Floats, ratio
from studies.detect import traces
from studies.judge import lean

Task = Literal["captions 10", "captions 30", "headline pairs", "headlines", "jokes or news"]
RANKS: dict[str, tuple[int, int]] = {"captions 10": (1, 1000), "captions 30": (21, 300)}
PAIRS = 20  # of one cartoon
JUDGED = 30  # of a hundred cartoons, or rows
SCALED = 400  # of the pairs or texts that teach, a language model is asked at most so many
EDIT = re.compile(r"<(.+?)/>")
FOLDERS = {"newyorker_captions": "captions.csv.gz", "humicroedit": "task2_dev.csv.gz"}


@dataclass(frozen=True, slots=True)
class Settings:
    """`limit` is of pairs or texts that judge, `taught` of those that teach, of each task."""

    data: Path
    limit: int = 3000
    taught: int = 8000
    seeds: int = 1
    model: str = ""
    methods: tuple[str, ...] = ALL


@dataclass(frozen=True, eq=False)
class Pairs:
    """N pairs, the funnier text now first, now second. `group` (N,) is what hangs together: cartoon or headline."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    right: Floats  # (N,) 1 where the first is the funnier
    group: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Texts:
    """N texts with what people said of them (N,): a mean grade, or 1 for a joke."""

    texts: tuple[str, ...]
    said: Floats
    group: tuple[str, ...]


def files(settings: Settings) -> list[Path]:
    names = ["newyorker_captions/captions.csv.gz", "newyorker_captions/cartoons.csv"]
    names += [f"humicroedit/{task}_{part}.csv.gz" for task in ("task1", "task2") for part in ("train", "dev")]
    names += ["humor_detection_colbert/jokes_vs_news.csv.gz"]
    for name in names:
        if not (settings.data / name).is_file():
            raise CannotRun(f"{settings.data / name} is not there: --data is the folder that holds {name}")
    return [settings.data / name for name in names]


def cells(settings: Settings) -> Iterator[Cell]:
    yield from of_methods(_all_cells(settings), settings.methods)


def _all_cells(settings: Settings) -> Iterator[Cell]:
    for task in ("captions 10", "captions 30", "headline pairs"):
        for name, judge in PAIR_JUDGES.items():
            yield Cell({"task": task, "method": name}, _of_pairs(settings, task, judge))
    for task in ("headlines", "jokes or news"):
        for name, grade in GRADERS.items():
            yield Cell({"task": task, "method": name}, _of_texts(settings, task, grade))


def _of_pairs(settings: Settings, task: str, judge: "PairJudge") -> Callable[[], Done]:
    def computed() -> Done:
        taught, judged = pairs(settings, task)
        odds = judge(settings, taught, judged)
        hit = np.where(odds == 0, 0.5, (odds > 0) == (judged.right > 0))
        hits, of = (np.array(part) for part in zip(*_grouped(hit, judged.group), strict=True))
        share, half = ratio(hits, of)
        figures = {"n": len(hit), "accuracy": share, "accuracy_half": half}
        return Done(figures, zip(judged.group, judged.right.tolist(), odds.round(4).tolist(), strict=True))

    return computed


def _of_texts(settings: Settings, task: str, grade: "Grader") -> Callable[[], Done]:
    def computed() -> Done:
        taught, judged = texts(settings, task)
        found = grade(settings, taught, judged)
        figures: dict[str, float] = {"n": len(found), "rmse": float(np.sqrt(np.mean((found - judged.said) ** 2)))}
        if task == "jokes or news":
            figures["auc"] = float(roc_auc_score(judged.said > 0.5, found))
            figures["accuracy"] = float(((found > 0.5) == (judged.said > 0.5)).mean())
        elif np.ptp(found):
            figures["rank"] = float(pd.Series(found).corr(pd.Series(judged.said), method="spearman"))
        return Done(figures, zip(judged.group, judged.said.tolist(), found.round(4).tolist(), strict=True))

    return computed


def _grouped(values: Floats, groups: tuple[str, ...]) -> list[tuple[float, float]]:
    found = pd.Series(values).groupby(list(groups)).agg(["sum", "count"])
    return [(float(a), float(b)) for a, b in found.to_numpy()]


# ---- data


def pairs(settings: Settings, task: str) -> tuple[Pairs, Pairs]:
    """Those that teach, and at most `limit` that judge."""
    if task == "headline pairs":
        parts = [_headline_pairs(settings.data / f"humicroedit/task2_{part}.csv.gz") for part in ("train", "dev")]
    else:
        parts = _caption_pairs(settings.data / "newyorker_captions", *RANKS[task])
    taught, judged = ([row for row in part] for part in parts)
    return _as_pairs(taught[: settings.taught]), _as_pairs(judged[: settings.limit])


def texts(settings: Settings, task: str) -> tuple[Texts, Texts]:
    if task == "headlines":
        parts = []
        for part in ("train", "dev"):
            table = _table(settings.data / f"humicroedit/task1_{part}.csv.gz", "original", "edit", "meanGrade")
            rows = zip(table["original"], table["edit"], table["meanGrade"].astype(float), strict=True)
            parts.append([(_edited(original, edit), grade, original) for original, edit, grade in rows])
    else:
        table = _table(settings.data / "humor_detection_colbert/jokes_vs_news.csv.gz", "row_id", "text", "humor")
        parts = [[], []]
        for text, joke, row in zip(table["text"], table["humor"].astype(float), table["row_id"], strict=True):
            parts[_judges("rows", str(row))].append((text, joke, row))
    taught, judged = parts
    return _as_texts(taught[: settings.taught]), _as_texts(judged[: settings.limit])


Row = tuple[str, str, str]  # the funnier text, the other one, what the pair hangs together by


def _caption_pairs(folder: Path, top: int, low: int) -> list[list[Row]]:
    table = _table(folder / "captions.csv.gz", "contest", "rank", "caption")
    about = _table(folder / "cartoons.csv", "contest", "description").set_index("contest")["description"]
    parts: list[list[Row]] = [[], []]
    for contest, some in table.assign(rank=table["rank"].astype(int)).sort_values("rank").groupby("contest"):
        good = some[some["rank"].between(top, top + PAIRS - 1)]["caption"].tolist()
        near = some.assign(off=(some["rank"] - low).abs()).sort_values(["off", "rank"])
        bad = near[near["rank"] >= top + PAIRS]["caption"].tolist()[: len(good)]
        scene = f"Cartoon: {about[contest]}\nCaption: "
        parts[_judges("cartoons", str(contest))] += [
            (scene + a, scene + b, str(contest)) for a, b in zip(good, bad, strict=True)
        ]
    return parts


def _headline_pairs(path: Path) -> list[Row]:
    columns = ("original1", "edit1", "original2", "edit2", "label")
    table = _table(path, *columns)
    found = []
    for original1, edit1, original2, edit2, label in table[list(columns)].itertuples(index=False):
        first, second = _edited(original1, edit1), _edited(original2, edit2)
        if label in ("1", "2"):
            found.append((first, second, original1) if label == "1" else (second, first, original1))
    return found


def _as_pairs(rows: list[Row]) -> Pairs:
    """Which text stands first is drawn from the texts themselves."""
    first, second, right = [], [], []
    for better, worse, _ in rows:
        ahead = int(hashlib.sha256(f"{better}|{worse}".encode()).hexdigest(), 16) % 2
        first.append(better if ahead else worse)
        second.append(worse if ahead else better)
        right.append(float(ahead))
    return Pairs(tuple(first), tuple(second), np.array(right), tuple(group for _, _, group in rows))


def _as_texts(rows: list[tuple[str, float, str]]) -> Texts:
    said, grades, groups = zip(*rows, strict=True)
    return Texts(tuple(said), np.array(grades, float), tuple(groups))


def _edited(original: str, edit: str) -> str:
    """The headline with the word that its editor put there."""
    return " ".join(EDIT.sub(lambda _: edit, original).split())


def _judges(kind: str, name: str) -> bool:
    return int(hashlib.sha256(f"palate-{kind}|{name}".encode()).hexdigest(), 16) % 100 < JUDGED


def _table(path: Path, *columns: str) -> pd.DataFrame:
    """As text: grades such as 01113 are no numbers. Raises CannotRun."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise CannotRun(f"{path} is no table: {error}") from error
    if missing := [name for name in columns if name not in table]:
        raise CannotRun(f"{path} has no column {missing[0]}: it holds {', '.join(table.columns[:9])}")
    return table


# ---- judges: odds (N,) that the first text of each pair is the funnier

PairJudge = Callable[[Settings, Pairs, Pairs], Floats]
Grader = Callable[[Settings, Texts, Texts], Floats]


def shorter(settings: Settings, taught: Pairs, judged: Pairs) -> Floats:
    """The shorter text, or the longer one, whichever won more often where it was taught."""
    way = np.sign(np.mean(_length(taught) * (2 * taught.right - 1)))
    return np.asarray(way * _length(judged))


def _length(some: Pairs) -> Floats:
    return np.array([np.sign(len(b) - len(a)) for a, b in zip(some.first, some.second, strict=True)], float)


def by_vectors(settings: Settings, taught: Pairs, judged: Pairs) -> Floats:
    """Ridge regression of who won, 1 or -1, on the difference of the encoder's vectors; neither place is the better."""
    learned, asked = (_encoded(some.first) - _encoded(some.second) for some in (taught, judged))
    model = RidgeCV(np.logspace(-2, 4, 13), fit_intercept=False).fit(learned, 2 * taught.right - 1)
    return np.asarray(model.predict(asked))


def likelier(settings: Settings, taught: Pairs, judged: Pairs) -> Floats:
    """The text that the language model finds likelier, or less likely, whichever won more often where it was taught."""
    lm = model(settings.model)
    some = min(len(taught.first), SCALED)
    learned = traces(lm, taught.first[:some]).likelihood - traces(lm, taught.second[:some]).likelihood
    way = np.sign(np.mean(np.sign(learned) * (2 * taught.right[:some] - 1))) or 1.0
    return np.asarray(way * (traces(lm, judged.first).likelihood - traces(lm, judged.second).likelihood))


def asked(settings: Settings, taught: Pairs, judged: Pairs) -> Floats:
    """The language model is asked in both orders, its lean to a place taken off."""
    judge = LocalJudge(model(settings.model))
    forward = judge.prefers(list(zip(judged.first, judged.second, strict=True)))
    backward = judge.prefers(list(zip(judged.second, judged.first, strict=True)))
    off = lean(forward, backward)
    return np.array([((a - off) - (b - off)) / 2 for a, b in zip(forward, backward, strict=True)])


# ---- graders: what people said of each text (N,)


def mean(settings: Settings, taught: Texts, judged: Texts) -> Floats:
    return np.full(len(judged.texts), taught.said.mean())


def graded_by_vectors(settings: Settings, taught: Texts, judged: Texts) -> Floats:
    """Ridge regression on the encoder's vectors."""
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 5, 21)))
    return np.asarray(model.fit(_encoded(taught.texts), taught.said).predict(_encoded(judged.texts)))


def graded_when_asked(settings: Settings, taught: Texts, judged: Texts) -> Floats:
    """The language model is asked whether the text is funny; some that teach bring its log-odds to the scale."""
    judge = LocalJudge(model(settings.model))
    order = np.random.default_rng(0).permutation(len(taught.texts))[:SCALED]
    odds = np.array(judge.funny([taught.texts[n] for n in order]))
    slope, start = np.polyfit(odds, taught.said[order], 1)
    return np.asarray(start + slope * np.array(judge.funny(judged.texts)))


@cache
def _encoded(some: tuple[str, ...]) -> Floats:
    return np.asarray(encoder.encode(some), float)


PAIR_JUDGES: dict[str, PairJudge] = {
    "length": shorter,
    "sentence vectors": by_vectors,
    "likelihood": likelier,
    "language model": asked,
}
GRADERS: dict[str, Grader] = {
    "mean": mean,
    "sentence vectors": graded_by_vectors,
    "language model": graded_when_asked,
}
