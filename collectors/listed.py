"""What the exports share: rows stand in named lists, each is used once per list or left out for a reason."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

from collectors.archive import Archive
from collectors.item import CollectError, ImportReport, Item, Signal, Tally

MAX_ITEMS = 500_000  # kept rows of one source; bounds the memory of the duplicate check

Reading = tuple[Item, Signal | None] | str  # what a row says, or the reason why it cannot be used


class Export(ABC):
    """An export as a zip, the folder it was unpacked to, or a file out of it. A member says what its rows say."""

    source: ClassVar[str]
    lacks: ClassVar[str]  # what is missing where there is no row at all, and what to do

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._tally = Tally(self.source)

    def __iter__(self) -> Iterator[tuple[Item, Signal | None]]:
        tally = self._tally = Tally(self.source)
        yield from counted(tally, self._readings(Archive(self._path)))
        if not tally.kept:
            raise nothing_kept(self._path, tally, self.lacks)

    def report(self) -> ImportReport:
        return self._tally.report()

    @abstractmethod
    def _readings(self, archive: Archive) -> Iterator[tuple[str, Reading]]:
        """The name of the list and what the row says, of each row."""


def counted(tally: Tally, rows: Iterable[tuple[str, Reading]]) -> Iterator[tuple[Item, Signal | None]]:
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


def nothing_kept(path: Path, tally: Tally, lacks: str) -> CollectError:
    """The error for a source that gave no item; `lacks` says what is missing where there was no row at all."""
    for reason, rows in tally.skipped.most_common(1):
        why = f"{rows} of its {tally.found} rows: {reason}"
        return CollectError(f"Nothing in {path} can be used ({why}): download the export again.")
    return CollectError(f"{path} {lacks}.")
