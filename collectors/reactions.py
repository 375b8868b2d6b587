"""A file of reactions, as `python -m collectors convert` writes it, as a source: of one person."""

from collections.abc import Iterator
from pathlib import Path

from collectors.item import CollectError, one_line, read_reactions
from collectors.listed import Listed, Reading


class Reactions(Listed):
    """The reactions of the one person in a file; the items keep the sources they came from."""

    source = "reactions"

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self._path = Path(path)

    def _readings(self) -> Iterator[tuple[str, Reading]]:
        people = read_reactions(self._path)
        user, reactions = next(people)
        if other := next(people, None):
            names = one_line(f"{user[:40]}, {other[0][:40]}")
            raise CollectError(f"{self._path} holds the reactions of several people ({names}): give one person's.")
        yield from (("reactions", reaction) for reaction in reactions)
