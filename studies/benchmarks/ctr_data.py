"""Rows of like prediction: Jester's jokes that nobody has rated, MovieLens by time, and the public sets of clicks.

On MovieLens all is counted from what was before that second, of whatever part: a row is told what a site would know by
then. On Jester a person is the same in all rows, counted from what teaches: counted without the row's own part it would
tell, beside the other rows, how that part was rated. How near a joke's text is to what they liked is foretold from the
parts that the joke is not in. With the control, all that is of the person is somebody else's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from engine.encoder import encode
from engine.recommend.features import Places, Shown, numbered
from studies.benchmarks import jester, movielens_files
from studies.benchmarks.rows import circle
from studies.benchmarks.runs import CannotRun
from studies.benchmarks.scores import Floats

Columns = dict[str, NDArray[Any]]
LIKED = {"jester": 0.0, "movielens": 3.5}  # a rating above it is a like
PARTS = 5  # of the jokes that are not judged: the first stops what learns, the others do not foretell themselves
CLICKS = ("label", "click", "clk")
WORDLESS = ("id", "Id", "")  # of a row, not of what was shown


@dataclass(frozen=True, eq=False)
class Task:
    """All rows, which of them teach, stop and are judged, and the ratings that stand behind the labels (R,). `other` is
    what each row is with somebody else's past; `textual` fields are made of texts, `floors` are (R,) scores."""

    shown: Shown
    teach: Places
    stop: Places
    test: Places
    truth: Floats
    textual: tuple[str, ...] = ()
    other: Shown | None = None
    floors: Mapping[str, Floats] | None = None
    what: str = "it"


def files(folder: Path) -> list[Path]:
    """What is read there. Raises CannotRun."""
    if (folder / "jokes.csv").is_file():
        return [folder / "jokes.csv", folder / "ratings.csv.gz"]
    if any((folder / name).is_file() for layout in movielens_files.LAYOUTS for name in layout):
        people = [folder / name for name in ("users.csv.gz", "users.dat") if (folder / name).is_file()]
        return [*movielens_files.files(folder), *people]
    return _clicks(folder)


def task(folder: Path, limit: int, seed: int) -> Task:
    """The rows of at most `limit` people, or a thousand times as many rows of clicks. Raises CannotRun."""
    names = [path.name for path in files(folder)]
    if "jokes.csv" in names:
        return jokes(folder, limit, seed)
    if any(name.startswith(("items.", "movies.")) for name in names):
        return films(folder, limit, seed)
    return clicks(folder, 1000 * limit)


# ---- Jester


@cache
def jokes(folder: Path, limit: int, seed: int) -> Task:
    """A fifth of the jokes is judged and rated by nobody who teaches; a fifth of the rest stops what learns."""
    split = next(jester.folds(jester.Settings(data=folder, limit=limit), seed))
    rated = np.where(np.isnan(split.held), split.known, split.held)
    new: NDArray[np.bool_] = np.asarray(~np.isnan(split.held).all(0))  # (J,)
    old = np.random.default_rng([seed, 6]).permutation(np.flatnonzero(~new))
    part = np.full(rated.shape[1], PARTS)  # of a joke that is judged: one of its own
    part[old] = np.arange(len(old)) % PARTS
    others = np.array(circle(len(rated), [seed, 3]))
    person, joke = np.nonzero(~np.isnan(rated))
    teaches = np.asarray(~new[joke] & (part[joke] > 0))
    of = _of_people(replace(split, known=np.where(part == 0, np.nan, split.known)))
    of["nearness"] = nearness(split, part)
    columns = [_at(of, who, joke) for who in (person, others[person])]  # of these people, and of who stands in for them
    both = {name: np.concatenate([some[name] for some in columns]) for name in of}
    both["topic"] = np.tile(_topics(split.vectors, old)[joke], 2)
    fields, ids = numbered(both, np.concatenate([teaches, np.zeros(len(joke), bool)]))
    truth = rated[person, joke]
    labels = (truth > LIKED["jester"]).astype(np.int64)
    vectors = np.asarray(split.vectors, np.float32)
    shown = Shown(fields, ids[: len(joke)], labels, person, joke, vectors, split.texts)
    floors = {
        "popularity by text": jester.text_mean(split)[person, joke],
        "true popularity (oracle)": jester.true_mean(split)[person, joke],
    }
    rows = np.arange(len(joke))
    stops = ~new[joke] & ~teaches
    return Task(
        shown, rows[teaches], rows[stops], rows[new[joke]], truth, ("nearness", "topic"),
        replace(shown, ids=ids[len(joke) :]), floors, "this joke",
    )  # fmt: skip


def _at(columns: Columns, person: Places, joke: Places) -> Columns:
    return {name: of[person, joke] if of.ndim == 2 else of[person] for name, of in columns.items()}


def _of_people(known: jester.Split) -> Columns:
    """What a person's ratings that teach say of the person (U,)."""
    count = (~np.isnan(known.known)).sum(1)
    return {
        "likes": ((known.known > LIKED["jester"]).sum(1) + 1) / (count + 2),
        "spread": np.nan_to_num(np.sqrt(np.nanmean((known.known - jester.user_mean(known)) ** 2, axis=1))),
        "rated": count.astype(float),
    }


def nearness(split: jester.Split, part: Places) -> Floats:
    """What the texts that a person rated foretell of each joke (U, J), from the parts that teach and it is not in."""
    found = np.zeros(split.known.shape)
    for n in np.unique(part):
        known = replace(split, known=np.where((part == n) | (part == 0), np.nan, split.known))
        found[:, part == n] = (jester.own_texts(known) - jester.user_mean(known))[:, part == n]
    return found


def _topics(vectors: Floats, old: Places) -> NDArray[Any]:
    """Which of eight groups of texts a joke is in; the groups are of jokes that are not judged."""
    from sklearn.cluster import KMeans

    groups = KMeans(8, n_init=4, random_state=0).fit(vectors[old])
    return np.array([f"t{n}" for n in groups.predict(vectors)])


# ---- MovieLens


@cache
def films(folder: Path, limit: int, seed: int) -> Task:
    """Eight tenths of the ratings by time teach, one stops, one is judged. Seeds differ in who stands in for whom."""
    rated, texts = movielens_files.rated(folder)
    about = movielens_files.people(folder)
    chosen = sorted(movielens_files.first(rated["user"].unique(), limit))
    rated = rated[rated["user"].isin(chosen)].sort_values(["time", "user", "item"]).reset_index(drop=True)
    if not len(rated):
        raise CannotRun(f"{folder} holds no rating: fetch it again")
    liked = (rated["rating"] > LIKED["movielens"]).astype(np.int64)
    moment = pd.to_datetime(rated["time"], unit="s")
    columns: Columns = {"person": rated["user"].to_numpy(str), "film": rated["item"].to_numpy(str)}
    columns |= {name: about[name].reindex(rated["user"]).fillna("").to_numpy(str) for name in about.columns.astype(str)}
    for name, key in (("person", "user"), ("film", "item")):
        there, likes = _before(rated, liked, key)
        columns |= {f"{name}'s ratings": there, f"{name}'s likes": (likes + 1) / (there + 2)}
    days = (rated["time"] - rated.groupby("user")["time"].transform("min")) / 86_400
    columns |= {"days": days.to_numpy(float), "hour": moment.dt.hour.to_numpy().astype(str)}
    text = rated["item"].map(texts)
    of = text.str.extract(r"\((?P<year>\d{4})\), (?P<genres>.*)$")  # a title may hold a comma too
    columns |= {"genres": of["genres"].fillna("").to_numpy(str), "year": of["year"].fillna(0).to_numpy(float)}
    first, second = (int(len(rated) * share) for share in (0.8, 0.9))
    rows = np.arange(len(rated))
    fields, ids = numbered(columns, rows < first)
    items, people = ({name: n for n, name in enumerate(names)} for names in (texts, chosen))
    who, what = (
        np.array([of[name] for name in rated[key]], np.int64) for of, key in ((people, "user"), (items, "item"))
    )
    told = tuple(texts.values())
    shown = Shown(fields, ids, np.asarray(liked, np.int64), who, what, encode(told), told)
    own = ("person", "person's ratings", "person's likes", "days", *about)
    floors = {"popularity so far": columns["film's likes"], "own likes so far": columns["person's likes"]}
    other = _by_others(shown, rows[second:], own, seed)
    return Task(
        shown, rows[:first], rows[first:second], rows[second:], rated["rating"].to_numpy(float), (), other, floors,
        "this film",
    )  # fmt: skip


def _before(rated: pd.DataFrame, liked: pd.Series, key: str) -> tuple[Floats, Floats]:
    """How many ratings of the same person or film were before that second, and how many of them likes (R,)."""
    by = [rated[key], rated["time"]]
    of = liked.groupby(by).agg(["count", "sum"])  # by time within each
    before = (of.groupby(level=0).cumsum() - of).loc[list(zip(*by, strict=True))]
    return before["count"].to_numpy(float), before["sum"].to_numpy(float)


def _by_others(shown: Shown, test: Places, own: Sequence[str], seed: int) -> Shown:
    """The same where all that is of a person who is judged is what somebody else of them was last."""
    people = np.unique(shown.people[test])
    last = [int(test[shown.people[test] == person][-1]) for person in people]
    other = {person: last[n] for person, n in zip(people.tolist(), circle(len(people), [seed, 3]), strict=True)}
    ids = shown.ids.copy()
    given = np.array([other[person] for person in shown.people[test].tolist()])
    for place in (n for n, name in enumerate(shown.fields.names) if name in own):
        ids[test, place] = shown.ids[given, place]
    return replace(shown, ids=ids)


# ---- clicks


def _clicks(folder: Path) -> list[Path]:
    """train, valid and test of a public set, or the one file there."""
    for ending in (".csv", ".csv.gz"):
        parts = [folder / f"{part}{ending}" for part in ("train", "valid", "test")]
        if all(path.is_file() for path in parts):
            return parts
    found = (
        [folder] if folder.is_file() else sorted(p for e in ("csv", "csv.gz", "txt.gz") for p in folder.glob(f"*.{e}"))
    )
    if len(found) != 1:
        raise CannotRun(
            f"{folder} is no set of clicks: give one file, or a folder with train.csv, valid.csv and test.csv"
        )
    return found


@cache
def clicks(folder: Path, limit: int) -> Task:
    """Avazu or Criteo as their public splits lie, or one file, of which the first eight tenths teach."""
    paths = _clicks(folder)
    tables = [_table(path, limit) for path in paths]
    whole = pd.concat(tables, ignore_index=True)
    label = next((name for name in CLICKS if name in whole.columns), None)
    if label is None:
        raise CannotRun(f"{paths[0]} has no column {', '.join(CLICKS)}: give it a header that names the label")
    try:
        labels = whole.pop(label).to_numpy(np.int64)
    except ValueError as error:
        raise CannotRun(f"{paths[0]} has a {label} that is no 0 or 1 ({error}): mend the rows") from error
    columns = _columns(whole.drop(columns=[name for name in WORDLESS if name in whole.columns]))
    cuts = (
        np.cumsum([len(one) for one in tables])[:2]
        if len(tables) == 3
        else (len(whole) * np.array([0.8, 0.9])).astype(int)
    )
    rows = np.arange(len(whole))
    fields, ids = numbered(columns, rows < cuts[0], missing=True)
    nothing = np.zeros((1, 1), np.float32)
    shown = Shown(fields, ids, labels, rows, np.zeros(len(rows), np.int64), nothing, ("",))
    return Task(
        shown,
        rows[: cuts[0]],
        rows[cuts[0] : cuts[1]],
        rows[cuts[1] :],
        labels.astype(float),
        what="this advertisement",
    )


def _table(path: Path, limit: int) -> pd.DataFrame:
    raw = path.name.endswith(".txt.gz")  # Criteo's own: tabs, and no header
    names = ["label", *(f"I{n}" for n in range(1, 14)), *(f"C{n}" for n in range(1, 27))]
    try:
        return pd.read_csv(path, sep="\t" if raw else ",", names=names if raw else None, nrows=limit, dtype=str)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise CannotRun(f"{path} cannot be read as a table of clicks ({error}): fetch it again") from error


def _columns(table: pd.DataFrame) -> Columns:
    """Criteo's counts are measured, all else are words; Avazu's hour (YYMMDDHH) is a day of the week and an hour."""
    found: Columns = {}
    for name, column in ((str(name), table[name]) for name in table):
        if name == "hour" and column.str.fullmatch(r"\d{8}").all():
            when = pd.to_datetime(column, format="%y%m%d%H")
            found |= {"hour": when.dt.hour.to_numpy().astype(str), "weekday": when.dt.weekday.to_numpy().astype(str)}
        elif name.startswith("I") and name[1:].isdigit():
            found[name] = pd.to_numeric(column, errors="coerce").to_numpy(float)
        else:
            found[name] = column.fillna("").to_numpy(str)
    return found
