"""What every source yields: an Item, perhaps a Signal about it, and a report of what was left out.

Nothing here knows a model, a page or a database. Outside text is cleaned once, here, where it enters.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Literal, Protocol

Maker = Literal["person", "project", "model"]
MAX_TEXT = 20_000  # characters of one item; longer ones are cut and counted as kept

# Bidirectional controls can make a text read differently from what it is (Unicode TR 9, TR 36).
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class CollectError(ValueError):
    """A source that cannot be read at all. The message is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Item:
    """One joke or post. `maker` says who wrote it: only "person" counts as human truth."""

    source: str
    source_id: str
    kind: str  # "joke" | "post"
    text: str
    community: str = ""
    author_hash: str = ""
    maker: Maker = "person"
    created_at: datetime | None = None
    url: str = ""

    @property
    def id(self) -> str:
        return f"{self.source}:{self.source_id}"


@dataclass(frozen=True, slots=True)
class Signal:
    """What one person showed about one item. `sign` is -1, 0 or +1, `strength` in [0, 1], `at` is UTC."""

    item_id: str
    sign: int
    strength: float = 1.0
    at: datetime | None = None
    origin: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import holds, shown before anything is saved: found == kept + sum(skipped.values())."""

    source: str
    found: int = 0
    kept: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    likes: int = 0
    dislikes: int = 0
    unrated: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    columns: dict[str, str] = field(default_factory=dict)  # role -> column it was read from

    def as_json(self) -> dict[str, object]:
        """Plain JSON values, datetimes as ISO strings."""
        return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(self).items()}

    def sentences(self) -> str:
        """The report for people, one fact a line."""
        lines = [f"{self.source}: {self.found} rows found, {self.kept} kept"]
        lines += [f"  skipped {n}: {reason}" for reason, n in sorted(self.skipped.items())]
        lines += [f"  {self.likes} liked, {self.dislikes} disliked, {self.unrated} without a reaction"]
        if self.oldest and self.newest:
            lines += [f"  from {self.oldest:%Y-%m-%d} to {self.newest:%Y-%m-%d}"]
        lines += [f"  {role} read from column {column!r}" for role, column in self.columns.items()]
        return "\n".join(lines)


class Tally:
    """Counts while a collector streams; `report()` freezes what was counted so far."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.found = self.kept = self.likes = self.dislikes = 0
        self.skipped: Counter[str] = Counter()
        self.columns: dict[str, str] = {}
        self.oldest: datetime | None = None
        self.newest: datetime | None = None

    def keep(self, item: Item, signal: Signal | None) -> None:
        self.found += 1
        self.kept += 1
        self.likes += signal is not None and signal.sign > 0
        self.dislikes += signal is not None and signal.sign < 0
        if item.created_at:
            self.oldest = min(self.oldest or item.created_at, item.created_at)
            self.newest = max(self.newest or item.created_at, item.created_at)

    def skip(self, reason: str, rows: int = 1) -> None:
        self.found += rows
        self.skipped[reason] += rows

    def report(self) -> ImportReport:
        return ImportReport(
            source=self.source,
            found=self.found,
            kept=self.kept,
            skipped=dict(self.skipped),
            likes=self.likes,
            dislikes=self.dislikes,
            unrated=self.kept - self.likes - self.dislikes,
            oldest=self.oldest,
            newest=self.newest,
            columns=dict(self.columns),
        )


class Collector(Protocol):
    """A source. Iterating streams it (again from the start each time); `report` speaks of the last pass."""

    def __iter__(self) -> Iterator[tuple[Item, Signal | None]]: ...

    def report(self) -> ImportReport: ...


def clean_text(text: str) -> str:
    """Text safe to store, prompt and show: no control, bidi, private-use or unpaired characters, NFC.

    Line breaks stay, other white space is folded. Private-use characters go because the engine marks the
    place of a soft prefix with one: no imported text can contain that mark.
    """
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " "))
    kept = (c for c in text if c == "\n" or (unicodedata.category(c) not in {"Cc", "Co", "Cs"} and c not in _BIDI))
    lines = (" ".join(line.split()) for line in "".join(kept).split("\n"))
    return "\n".join(lines).strip()[:MAX_TEXT]


def text_id(text: str) -> str:
    """A stable id for a text that has none of its own: 16 hex digits of sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
