"""The texts that come with the project, for a first run without anybody's own export."""

import json
from collections.abc import Iterator
from pathlib import Path

from collectors.item import CollectError, ImportReport, Item, Signal, Tally, clean_text

SAMPLE = Path(__file__).with_name("sample.jsonl")


class Sample:
    """Every text of the sample, in file order. Nobody has reacted to them, and none counts as human truth."""

    def __init__(self, path: Path = SAMPLE) -> None:
        self._path = path
        self._tally = Tally("sample")

    def __iter__(self) -> Iterator[tuple[Item, Signal | None]]:
        tally = self._tally = Tally("sample")
        try:
            lines = self._path.read_text(encoding="utf-8").strip().split("\n")
        except OSError as error:
            raise CollectError(
                f"The sample {self._path} cannot be read ({error.strerror}): install it again."
            ) from None
        for number, line in enumerate(lines, start=1):
            item = self._item(line, number)
            tally.keep(item, None)
            yield item, None

    def report(self) -> ImportReport:
        return self._tally.report()

    def _item(self, line: str, number: int) -> Item:
        try:
            row: dict[str, str] = json.loads(line)
            text, community = clean_text(row["text"]), row["community"]
            return Item("sample", row["source_id"], row["kind"], text, community, maker="project")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # A damaged sample is a damaged installation, so no line of it is left out.
            raise CollectError(f"Line {number} of {self._path} is damaged ({error!r}): install it again.") from None
