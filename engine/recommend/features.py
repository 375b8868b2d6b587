"""What is known when somebody is shown something, as numbers: of each field, which of the values that teach it has.

A value that those who teach did not have twice is 0, unknown; so is one that is missing. What is measured is parted
into so many ranges, each as common as any other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
LEAST, RANGES = 2, 16  # times that a value is seen to be known; ranges of what is measured


class FeatureError(ValueError):
    """Rows that nothing can be learned from. One sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Fields:
    """F fields by name, and how many values each has: 0 is what is unknown."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]

    @property
    def starts(self) -> Places:
        """Where the values of each field begin, when those of all stand one after the other (F,)."""
        return np.cumsum((0, *self.sizes[:-1]))


@dataclass(frozen=True, eq=False)
class Shown:
    """R times that somebody was shown an item: the values `ids` (R, F), whether it was liked, 0 or 1 (R,), who it was
    (R,), which item (R,); of I items the vectors (I, E) and the texts."""

    fields: Fields
    ids: Places
    labels: Places
    people: Places
    items: Places
    vectors: NDArray[np.float32]
    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.labels):
            raise FeatureError("nobody was shown anything: take more rows")
        if other := sorted({*np.unique(self.labels).tolist()} - {0, 1}):
            raise FeatureError(f"{other[0]} is no label: give 1 where something was liked and 0 where not")
        if self.ids.shape != (len(self.labels), len(self.fields.sizes)):
            raise FeatureError(f"values of {self.ids.shape} do not fit {len(self.labels)} rows of these fields")
        for name, size, mine in zip(self.fields.names, self.fields.sizes, self.ids.T, strict=True):
            if mine.min() < 0 or mine.max() >= size:
                raise FeatureError(f"{name} has a value outside its {size}: number the rows by the fields that teach")
        if self.items.min() < 0 or self.items.max() >= len(self.texts):
            raise FeatureError(f"item {self.items.max()} is none of {len(self.texts)}: give each its text")

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, rows: Sequence[int] | NDArray[Any]) -> "Shown":
        return replace(
            self, ids=self.ids[rows], labels=self.labels[rows], people=self.people[rows], items=self.items[rows]
        )

    def only(self, names: Sequence[str]) -> "Shown":
        """With these fields alone."""
        kept = [n for n, name in enumerate(self.fields.names) if name in names]
        fields = Fields(tuple(self.fields.names[n] for n in kept), tuple(self.fields.sizes[n] for n in kept))
        return replace(self, fields=fields, ids=self.ids[:, kept])


def fit_to_teach(shown: Shown, what: str) -> None:
    """Raise FeatureError where all labels are the same, or a vector is none."""
    if not np.isfinite(shown.vectors).all():
        raise FeatureError("a vector holds values that are no numbers: encode the texts anew")
    if len(np.unique(shown.labels)) < 2:
        raise FeatureError(f"all {len(shown)} rows {what} have the label {shown.labels[0]}: take some of the other")


def numbered(
    columns: Mapping[str, NDArray[Any]], teaches: NDArray[np.bool_], *, missing: bool = False
) -> tuple[Fields, Places]:
    """Columns (R,) of words or numbers as fields and values (R, F); only rows that teach (R,) say what there is.

    A number that is none is a FeatureError, unless `missing` ones are to be unknown.
    """
    made = []
    for name, column in columns.items():
        if column.dtype.kind == "f":
            if not missing and not np.isfinite(column).all():
                raise FeatureError(f"{name} holds values that are no numbers: mend the rows, or leave the field out")
            edges = edges_of(column[teaches])
            made.append((ranged(column, edges), len(edges) + 2))
        else:
            made.append(_values(column, teaches))
    fields = Fields(tuple(columns), tuple(size for _, size in made))
    return fields, np.stack([ids for ids, _ in made], 1)


def _values(column: NDArray[Any], teaches: NDArray[np.bool_]) -> tuple[Places, int]:
    found, counts = np.unique(column[teaches], return_counts=True)
    known = found[counts >= LEAST]
    places = np.searchsorted(known, column)
    same = np.zeros(len(column), bool)
    inside = places < len(known)
    same[inside] = known[places[inside]] == column[inside]
    return np.where(same, places + 1, 0).astype(np.int64), len(known) + 1


def edges_of(column: NDArray[Any]) -> NDArray[Any]:
    """Where the ranges of what is measured (R,) end, at most RANGES - 1: of values without gaps equally common ones."""
    seen = column[np.isfinite(column)]
    return np.unique(np.quantile(seen, np.linspace(0, 1, RANGES + 1)[1:-1])) if len(seen) else seen


def ranged(column: NDArray[Any], edges: NDArray[Any]) -> Places:
    """The range that each value is in, from 1 on (R,); 0 for one that is no number."""
    return np.where(np.isfinite(column), np.searchsorted(edges, column, side="right") + 1, 0).astype(np.int64)
