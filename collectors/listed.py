"""What the exports share: rows stand in named lists, each is used once per list or left out for a reason."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from collectors.item import CollectError, Item, Signal, Tally

MAX_ITEMS = 500_000  # kept rows of one source; bounds the memory of the duplicate check

Reading = tuple[Item, Signal | None] | str  # what a row says, or the reason why it cannot be used


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
