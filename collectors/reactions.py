"""A file of reactions, as `python -m collectors convert` writes it, as a source: of one person."""

from collections.abc import Iterator
from pathlib import Path

from collectors.item import CollectError, ImportReport, Item, Signal, Tally, one_line, read_reactions
from collectors.listed import counted


class Reactions:
    """The reactions of the one person in a file; the items keep the sources they came from."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._tally = Tally("reactions")

    def __iter__(self) -> Iterator[tuple[Item, Signal | None]]:
        tally = self._tally = Tally("reactions")
        people = read_reactions(self._path)
        user, reactions = next(people)
        if other := next(people, None):
            names = one_line(f"{user[:40]}, {other[0][:40]}")
            raise CollectError(f"{self._path} holds the reactions of several people ({names}): give one person's.")
        yield from counted(tally, (("reactions", reaction) for reaction in reactions))

    def report(self) -> ImportReport:
        return self._tally.report()
