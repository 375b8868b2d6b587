"""What every source yields: an Item, perhaps a Signal about it, and a report of what was left out.

Nothing here knows a model, a page or a database. Outside text is cleaned once, here, where it enters.
"""

import hashlib
import json
import os
import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO, get_args

Maker = Literal["person", "project", "model"]
MAX_TEXT = 20_000  # characters of one item; longer ones are cut and counted as kept
EXAMPLES, MAX_EXAMPLE = 10, 200  # texts that a report shows, and characters of each
MAX_WHY = 300  # characters of why somebody likes an item
MAX_LINE = 1_000_000  # bytes of one line of a reactions file

# Bidirectional controls can make a text read differently from what it is (Unicode TR 9, TR 36).
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class CollectError(ValueError):
    """A source that cannot be read at all. The message is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Item:
    """One joke or post. `maker` says who wrote it: only "person" counts as human truth. `text` may be empty where a
    source has ids only: such an item waits for its text and teaches nothing.
    """

    source: str
    source_id: str
    kind: str  # "joke" | "post" | "comment"
    text: str
    community: str = ""
    author_hash: str = ""
    maker: Maker = "person"
    created_at: datetime | None = None
    url: str = ""
    stand_in: bool = False  # `text` is no more than the words of a link, until the real one is fetched

    @property
    def id(self) -> str:
        return f"{self.source}:{self.source_id}"


@dataclass(frozen=True, slots=True)
class Signal:
    """What one person showed about one item. `sign` is -1, 0 or +1, `strength` in [0, 1], `at` is UTC. A sign of 0 says
    that they met it and no more: watched, hidden, written by themselves.

    `note` is why they like it, in their words; `picked` says that they chose it as one of their best.
    """

    item_id: str
    sign: int
    strength: float = 1.0
    at: datetime | None = None
    origin: str = ""
    note: str = ""
    picked: bool = False


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import holds, shown before anything is saved: found == kept + sum(skipped.values()), in rows."""

    source: str
    found: int = 0
    kept: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    likes: int = 0  # different items; so are the dislikes
    dislikes: int = 0
    unrated: int = 0  # rows
    lists: dict[str, int] = field(default_factory=dict)  # name of a list in the source -> rows found in it
    with_text: int = 0  # of the rows kept
    stand_ins: int = 0  # of those, rows whose text is only the words of a link
    oldest: datetime | None = None
    newest: datetime | None = None
    columns: dict[str, str] = field(default_factory=dict)  # role -> column it was read from
    examples: tuple[str, ...] = ()  # beginnings of texts, drawn evenly from the rows that have one

    def as_json(self) -> dict[str, object]:
        """Plain JSON values, datetimes as ISO strings."""
        return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(self).items()}

    def sentences(self) -> str:
        """The report for people, one fact a line."""
        lines = [f"{self.source}: {self.found} rows found, {self.kept} kept"]
        lines += [f"  {name}: {n}" for name, n in self.lists.items()]
        lines += [f"  skipped {n}: {reason}" for reason, n in sorted(self.skipped.items())]
        lines += [f"  {self.likes} liked, {self.dislikes} disliked, {self.unrated} without a reaction"]
        if self.with_text < self.kept or self.stand_ins:
            words = f", {self.stand_ins} of them only the words of a link" if self.stand_ins else ""
            lines += [f"  {self.with_text} with text{words}"]
        if self.oldest and self.newest:
            lines += [f"  from {self.oldest:%Y-%m-%d} to {self.newest:%Y-%m-%d}"]
        lines += [f"  {role} read from column {column!r}" for role, column in self.columns.items()]
        return "\n".join(lines)


class Tally:
    """Counts while a collector streams; `report()` freezes what was counted so far."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.found = self.kept = self.unrated = self.with_text = self.stand_ins = 0
        self.skipped: Counter[str] = Counter()
        self.lists: Counter[str] = Counter()
        self.columns: dict[str, str] = {}
        self.oldest: datetime | None = None
        self.newest: datetime | None = None
        self._rated: dict[int, set[str]] = {1: set(), -1: set()}
        self._examples: list[str] = []
        self._dice = random.Random(0)  # the same source shows the same examples

    def keep(self, item: Item, signal: Signal | None, in_list: str = "") -> None:
        self.found += 1
        self.kept += 1
        self.lists.update([in_list] if in_list else [])
        if signal and signal.sign:
            self._rated[signal.sign].add(item.id)
        else:
            self.unrated += 1
        if item.text:
            self.with_text += 1
            self.stand_ins += item.stand_in
            self._perhaps_an_example(item.text)
        if at := (signal and signal.at) or item.created_at:
            self.oldest = min(self.oldest or at, at)
            self.newest = max(self.newest or at, at)

    def skip(self, reason: str, rows: int = 1, in_list: str = "") -> None:
        self.found += rows
        self.skipped[reason] += rows
        if in_list:
            self.lists[in_list] += rows

    def _perhaps_an_example(self, text: str) -> None:
        """Every text so far has the same chance to be among them (reservoir sampling)."""
        place = len(self._examples)
        if place == EXAMPLES:
            place = self._dice.randrange(self.with_text)
        if place < EXAMPLES:
            self._examples[place : place + 1] = [text[:MAX_EXAMPLE]]

    def report(self) -> ImportReport:
        return ImportReport(
            source=self.source,
            found=self.found,
            kept=self.kept,
            skipped=dict(self.skipped),
            likes=len(self._rated[1]),
            dislikes=len(self._rated[-1]),
            unrated=self.unrated,
            lists=dict(self.lists),
            with_text=self.with_text,
            stand_ins=self.stand_ins,
            oldest=self.oldest,
            newest=self.newest,
            columns=dict(self.columns),
            examples=tuple(self._examples),
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


def one_line(why: str) -> str:
    """Why somebody likes an item, as one line that is safe to store and show."""
    return " ".join(clean_text(why).split())[:MAX_WHY]


def text_id(text: str) -> str:
    """A stable id for a text that has none of its own: 16 hex digits of sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_reactions(to: str | Path | TextIO, people: Iterable[tuple[str, Iterable[tuple[Item, Signal | None]]]]) -> int:
    """Write what people reacted to as JSON lines, those of one person together; return how many lines.

    A path appears only when all is written: half a population looks like a whole one.
    """
    if not isinstance(to, str | Path):
        lines = 0
        for line in _reaction_lines(people):
            to.write(line)
            lines += 1
        return lines
    part = Path(f"{to}.part")
    try:
        with part.open("w", encoding="ascii", newline="\n") as file:
            lines = write_reactions(file, people)
        os.replace(part, to)
    except OSError as error:
        raise CollectError(f"Cannot write {to} ({error.strerror}): check folder, permission and space.") from None
    finally:
        with suppress(OSError):
            part.unlink()
    return lines


def _reaction_lines(people: Iterable[tuple[str, Iterable[tuple[Item, Signal | None]]]]) -> Iterator[str]:
    done: set[str] = set()
    for user, reactions in people:
        if not user or clean_text(user) != user or "\n" in user:
            raise CollectError(f"{user!r} is no name for a user: take one line of printable characters.")
        if user in done:
            raise ValueError(f"the reactions of {user!r} do not stand together")
        done.add(user)
        for item, signal in reactions:
            if signal and signal.item_id != item.id:
                raise ValueError(f"the signal about {signal.item_id!r} stands beside {item.id!r}")
            shown = signal and {k: v for k, v in asdict(signal).items() if k != "item_id"}
            row = {"user": user, "item": asdict(item), "signal": shown}
            yield json.dumps(row, default=datetime.isoformat) + "\n"  # the dates are all that JSON does not know


def read_reactions(path: str | Path) -> Iterator[tuple[str, list[tuple[Item, Signal | None]]]]:
    """Read such a file person by person. One line that is wrong refuses the file: a part of a person is a false one."""
    user, reactions = "", list[tuple[Item, Signal | None]]()
    done: set[str] = set()
    for number, line in _numbered(path):
        try:
            row = json.loads(line)
            name, reaction = _clean(row["user"]), _reaction(row["item"], row["signal"])
            if not name or name in done:
                raise ValueError("its user stands further up already" if name else "it names no user")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            why = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise CollectError(
                f"Line {number} of {path} is not a reaction ({why[:200]}): write the file again, as "
                "python -m collectors convert does, or take that line out."
            ) from None
        if name != user and reactions:
            done.add(user)
            yield user, reactions
            reactions = []
        user = name
        reactions.append(reaction)
    if not reactions:
        raise CollectError(f"{path} is empty: write it again, as python -m collectors convert does.")
    yield user, reactions


def _numbered(path: str | Path) -> Iterator[tuple[int, bytes]]:
    try:
        with open(path, "rb") as file:
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise CollectError(f"Line {number} of {path} is longer than 1 MB: take that line out.")
                if line.strip():
                    yield number, line
    except OSError as error:
        raise CollectError(f"Cannot read {path} ({error.strerror}): check name and permission.") from None


def _reaction(item: dict[str, Any], signal: dict[str, Any] | None) -> tuple[Item, Signal | None]:
    """Both from plain JSON; ValueError, KeyError or TypeError if they are not what they should be."""
    plain = {k: v for k, v in item.items() if k not in ("created_at", "stand_in")}
    fields: dict[str, Any] = {k: _clean(v) for k, v in plain.items()}
    fields |= {"created_at": _when(item.get("created_at")), "stand_in": item.get("stand_in", False)}
    read = Item(**fields)
    if not (read.text and read.source and read.source_id):
        raise ValueError("text, source or source_id is empty")
    if not isinstance(read.stand_in, bool):
        raise ValueError(f"stand_in {read.stand_in!r} is not true or false")
    if read.kind not in ("joke", "post", "comment") or read.maker not in get_args(Maker):
        raise ValueError(f"kind {read.kind!r} or maker {read.maker!r} is unknown")
    if signal is None:
        return read, None
    words = {k: _clean(v) for k, v in signal.items() if k in ("origin", "note")}
    rest = {k: v for k, v in signal.items() if k not in words}
    shown = Signal(read.id, **{**rest, **words, "at": _when(rest.get("at"))})
    # JSON's true and 1.0 compare equal to 1, and NaN to nothing.
    if type(shown.sign) is not int or shown.sign not in (-1, 0, 1):
        raise ValueError(f"sign {shown.sign!r} is not -1, 0 or 1")
    if isinstance(shown.strength, bool) or not 0 <= shown.strength <= 1:
        raise ValueError(f"strength {shown.strength!r} is not from 0 to 1")
    if not isinstance(shown.picked, bool):
        raise ValueError(f"picked {shown.picked!r} is not true or false")
    return read, replace(shown, strength=float(shown.strength))


def _clean(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is not text")
    return clean_text(value)


def _when(value: object) -> datetime | None:
    if value is None:
        return None
    at = datetime.fromisoformat(value)  # type: ignore[arg-type]  # anything but text is a TypeError, as wanted
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
