"""What most sources share: rows stand in named lists, each is used once per list or left out for a reason."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

from collectors.item import CollectError, ImportReport, Item, Signal, Tally

MAX_ITEMS = 500_000  # kept rows of one source; bounds the memory of the duplicate check

Reading = tuple[Item, Signal | None] | str  # what a row says, or the reason why it cannot be used


class Listed(ABC):
    """A source whose rows stand in named lists. A member says what its rows say; a pass gives rows as they come."""

    source: ClassVar[str]

    def __init__(self) -> None:
        self._tally = Tally(self.source)

    def __iter__(self) -> Iterator[tuple[Item, Signal | None]]:
        self._tally = Tally(self.source)
        yield from _counted(self._tally, self._readings())

    def report(self) -> ImportReport:
        return self._tally.report()

    @abstractmethod
    def _readings(self) -> Iterator[tuple[str, Reading]]:
        """The name of the list and what the row says, of each row."""


class Export(Listed):
    """An export as a zip, the folder it was unpacked to, or a file out of it."""

    lacks: ClassVar[str]  # what is missing where there is no row at all, and what to do

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self._path = Path(path)

    def __iter__(self) -> Iterator[tuple[Item, Signal | None]]:
        yield from super().__iter__()
        if not self._tally.kept:
            raise self._nothing_kept()

    def _nothing_kept(self) -> CollectError:
        for reason, rows in self._tally.skipped.most_common(1):
            why = f"{rows} of its {self._tally.found} rows: {reason}"
            return CollectError(f"Nothing in {self._path} can be used ({why}): download the export again.")
        return CollectError(f"{self._path} {self.lacks}.")


def _counted(tally: Tally, rows: Iterable[tuple[str, Reading]]) -> Iterator[tuple[Item, Signal | None]]:
    """Pass on what can be used of `rows` (name of the list, reading), counting all."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for name, row in rows:
        if isinstance(row, str):
            tally.skip(row, in_list=name)
        elif row[0].id in seen[name]:
            tally.skip("duplicate", in_list=name)
        elif tally.kept >= MAX_ITEMS:
            tally.skip(f"over the limit of {MAX_ITEMS:,} items", in_list=name)
        else:
            seen[name].add(row[0].id)
            tally.keep(*row, in_list=name)
            yield row
