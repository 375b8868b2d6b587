"""MovieLens as its files lie: 100K and samples as CSV (ratings, items or movies), 1M as GroupLens gives it (`::`)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from studies.benchmarks.runs import CannotRun

Places = NDArray[np.int64]
LAYOUTS = (("ratings.csv.gz", "items.csv.gz"), ("ratings.csv.gz", "movies.csv.gz"), ("ratings.dat", "movies.dat"))
NAMES = {"user_id": "user", "item_id": "item", "movie_id": "item", "timestamp": "time"}
RATINGS, FILMS = ["user", "item", "rating", "time"], ["item", "title", "genres"]
NUMBERS = ("rating", "time")


@dataclass(frozen=True, eq=False)
class Films:
    """N films that somebody had, each as text, and what each of U people had, oldest first, as numbers of films."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    people: tuple[str, ...]
    histories: tuple[Places, ...]
    unsure: float  # share of people whose last film is not sure: others have its time


def files(folder: Path) -> list[Path]:
    """The two files of a layout. Raises CannotRun."""
    for layout in LAYOUTS:
        paths = [folder / name for name in layout]
        if all(path.is_file() for path in paths):
            return paths
    known = " or ".join(" and ".join(layout) for layout in LAYOUTS)
    raise CannotRun(f"{folder} holds no MovieLens: put {known} there")


def rated(folder: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """All ratings (user, item, rating, time), and the text of each film that has one, in the order of their ids. Raises
    CannotRun for files that are not what their names say."""
    ratings, films = files(folder)
    found, named = _table(ratings, RATINGS), _table(films, FILMS)
    if bad := [column for column in NUMBERS if not pd.api.types.is_numeric_dtype(found[column])]:
        raise CannotRun(f"{ratings} holds a {bad[0]} that is no number: fetch it again")
    if twice := int(found.duplicated(["user", "item"]).sum()):
        raise CannotRun(f"{ratings} holds {twice} ratings of a film by somebody who has rated it: take each once")
    titles = dict(zip(named["item"], named["title"].str.strip() + ", " + named["genres"].str.replace("|", ", "),
                      strict=True))  # fmt: skip
    ids = sorted(found["item"].unique(), key=lambda item: (len(item), item))
    if unknown := next((item for item in ids if item not in titles), None):
        raise CannotRun(f"film {unknown} is rated in {ratings.name} and is not in {films.name}: fetch both again")
    return found, {item: titles[item] for item in ids}


def people(folder: Path) -> pd.DataFrame:
    """What is told of each person, as words: age, gender, occupation; nothing where there is no such file."""
    told = ["age", "gender", "occupation"]
    path = next((folder / name for name in ("users.csv.gz", "users.dat") if (folder / name).is_file()), None)
    if path is None:
        return pd.DataFrame()
    try:
        if path.suffix == ".dat":
            names = ["user_id", "gender", "age", "occupation", "zip"]
            found = pd.read_csv(path, sep="::", engine="python", header=None, names=names, dtype=str)
        else:
            found = pd.read_csv(path, dtype=str)
        found = pd.DataFrame(found.set_index("user_id")[told])
    except (EOFError, KeyError, OSError, ValueError) as error:
        raise CannotRun(f"{path} is not laid out as MovieLens is ({error}): fetch it again") from error
    if not found.index.is_unique:
        raise CannotRun(f"{path} tells of somebody twice: take each once")
    return found


def first(names: Iterable[str], limit: int) -> set[str]:
    """So many people, the first by the hash of their id: a smaller run judges some of a larger one's."""
    return set(sorted(names, key=lambda name: sha256(name.encode()).digest())[:limit])


def read(folder: Path) -> Films:
    """Who had what. Raises CannotRun."""
    rows, titles = rated(folder)
    ids = list(titles)
    number = {item: n for n, item in enumerate(ids)}
    # many ratings have the same second: neither the file's order nor the ids' may say which came last
    ties = [sha256(f"{user}|{item}".encode()).digest() for user, item in zip(rows["user"], rows["item"], strict=True)]
    order = rows.assign(number=rows["item"].map(number), tie=ties).sort_values(["user", "time", "tie"])
    groups = list(order.groupby("user", sort=True))
    unsure = np.mean([(group["time"] == group["time"].max()).sum() > 1 for _, group in groups])
    return Films(
        tuple(ids),
        tuple(titles[item] for item in ids),
        tuple(str(user) for user, _ in groups),
        tuple(group["number"].to_numpy(np.int64) for _, group in groups),
        float(unsure),
    )


def times(folder: Path) -> dict[str, Places]:
    """When each person had their films, oldest first."""
    rows = rated(folder)[0].sort_values(["user", "time"])
    return {str(user): group["time"].to_numpy(np.int64) for user, group in rows.groupby("user", sort=True)}


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The columns wanted, under our names; what is no number as text."""
    try:
        if path.suffix == ".dat":
            found = pd.read_csv(path, sep="::", engine="python", header=None, names=list(columns), encoding="latin-1")
        else:
            found = pd.read_csv(path).rename(columns=NAMES)
        found = found[list(columns)]
    except (EOFError, KeyError, OSError, ValueError) as error:
        raise CannotRun(f"{path} is not laid out as MovieLens is ({error}): fetch it again") from error
    if lacking := next((name for name in columns if found[name].isna().any()), None):
        raise CannotRun(f"{path} has a line without {lacking}: fetch it again")
    return found.astype({name: str for name in columns if name not in NUMBERS})
