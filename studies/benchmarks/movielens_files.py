"""MovieLens as its files lie: 100K and samples as CSV (ratings, items or movies), 1M as GroupLens gives it (`::`)."""

from collections.abc import Sequence
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


def read(folder: Path) -> Films:
    """Raises CannotRun for files that are not what their names say."""
    ratings, films = files(folder)
    rated, named = _table(ratings, RATINGS), _table(films, FILMS)
    if bad := [column for column in ("rating", "time") if not pd.api.types.is_numeric_dtype(rated[column])]:
        raise CannotRun(f"{ratings} holds a {bad[0]} that is no number: fetch it again")
    if twice := int(rated.duplicated(["user", "item"]).sum()):
        raise CannotRun(f"{ratings} holds {twice} ratings of a film by somebody who has rated it: take each once")
    titles = dict(zip(named["item"], named["title"].str.strip() + ", " + named["genres"].str.replace("|", ", "),
                      strict=True))  # fmt: skip
    ids = sorted(rated["item"].unique(), key=lambda item: (len(item), item))
    if unknown := next((item for item in ids if item not in titles), None):
        raise CannotRun(f"film {unknown} is rated in {ratings.name} and is not in {films.name}: fetch both again")
    number = {item: n for n, item in enumerate(ids)}
    # many ratings have the same second: neither the file's order nor the ids' may say which came last
    ties = [sha256(f"{user}|{item}".encode()).digest() for user, item in zip(rated["user"], rated["item"], strict=True)]
    order = rated.assign(number=rated["item"].map(number), tie=ties).sort_values(["user", "time", "tie"])
    groups = list(order.groupby("user", sort=True))
    unsure = np.mean([len(group) > 1 and (group["time"] == group["time"].max()).sum() > 1 for _, group in groups])
    return Films(
        tuple(ids),
        tuple(titles[item] for item in ids),
        tuple(str(user) for user, _ in groups),
        tuple(group["number"].to_numpy(np.int64) for _, group in groups),
        float(unsure),
    )


def times(folder: Path) -> dict[str, Places]:
    """When each person had their films, oldest first."""
    rated = _table(files(folder)[0], RATINGS).sort_values(["user", "time"])
    return {str(user): group["time"].to_numpy(np.int64) for user, group in rated.groupby("user", sort=True)}


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The columns wanted, under our names; ids as text."""
    try:
        if path.suffix == ".dat":
            found = pd.read_csv(path, sep="::", engine="python", header=None, names=list(columns), encoding="latin-1")
        else:
            found = pd.read_csv(path).rename(columns=NAMES)
        ids = [name for name in ("user", "item") if name in columns]
        return found.astype(dict.fromkeys(ids, str))[list(columns)]
    except (KeyError, OSError, UnicodeDecodeError, ValueError) as error:
        raise CannotRun(f"{path} is not laid out as MovieLens is ({error}): fetch it again") from error
