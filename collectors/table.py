"""A table of jokes or posts, with or without reactions, in one CSV, TSV or JSON lines file of any size."""

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Literal

from collectors.dates import parse_date
from collectors.item import CollectError, ImportReport, Item, Signal, Tally, clean_text, one_line, text_id

MAX_LINE = 256_000  # bytes of one physical line; a row of several lines may reach twice as much
MAX_ITEMS = 200_000  # kept rows; bounds the memory of the duplicate check
TOO_LONG = "line longer than 256 kB"
ROLES = {
    "text": ("text", "joke", "body", "content", "post", "caption", "message", "title"),
    "like": ("like", "liked", "upvoted", "direction", "vote", "label", "reaction"),
    "dislike": ("dislike", "disliked", "downvoted"),
    "rating": ("rating", "score", "stars", "grade"),
    "community": ("community", "subreddit", "channel", "category"),
    "why": ("why", "note"),
    "best": ("best", "picked", "favourite", "favorite"),
    "created": ("created_at", "created_utc", "created", "date", "timestamp"),
}
_UNRATED = ("", "none", "null", "nan")
_YES, _NO = ("1", "1.0", "true", "yes", "y"), ("0", "0.0", "false", "no", "n")
_UP = (*_YES, "+1", "up", "upvote", "upvoted", "like", "liked")
_DOWN = ("-1", "-1.0", "down", "downvote", "downvoted", "dislike", "disliked")
_SILENT: dict[str, int | None] = dict.fromkeys((*_UNRATED, "removed", "skip"))
_LIKE = _SILENT | dict.fromkeys(_UP, 1) | dict.fromkeys(_NO + _DOWN, -1)
_LIKE_BESIDE_DISLIKE = _LIKE | dict.fromkeys(_NO)  # there a "no" says only: not liked
_DISLIKE = _SILENT | dict.fromkeys(_NO) | dict.fromkeys(_YES + _DOWN, -1)
_SCALES = ((0, 1), (-1, 1), (1, 5), (0, 5), (1, 10), (0, 10), (-10, 10), (0, 100))  # narrowest first

Line = tuple[str, str]  # its text and its flaw, "" if it has none
Row = dict[str, str]


class _BadRow(Exception):
    """A row that cannot be used; the message is the reason the report gives."""


@dataclass(eq=False)
class Table:
    """Rows of one file. Columns not named are found by their usual names; "" leaves a role out."""

    path: str | Path
    _: KW_ONLY
    text: str | None = None
    like: str | None = None
    dislike: str | None = None
    rating: str | None = None
    scale: tuple[float, float] | None = None  # lowest and highest possible rating, else as found
    community: str | None = None
    why: str | None = None
    best: str | None = None
    kind: Literal["joke", "post"] = "joke"
    created: str | None = None

    def __post_init__(self) -> None:
        if self.scale and not -math.inf < self.scale[0] < self.scale[1] < math.inf:
            raise CollectError("The scale of ratings must be LOW:HIGH, two numbers, the lower one first.")
        self._tally = Tally("table")

    def __iter__(self) -> Iterator[tuple[Item, Signal | None]]:
        tally = self._tally = Tally("table")
        # JSON rows may leave some of their columns out, so the first hundred name them.
        names = dict.fromkeys(name for row in islice(self._rows(tally), 100) for name in row)
        if not names:
            raise self._nothing_kept(tally)
        columns = self._columns(list(names))
        scale = self.scale or self._found_scale(columns)
        tally = self._tally = Tally("table")  # what the look ahead counted is counted again now
        tally.columns = columns
        seen: set[str] = set()
        for row in self._rows(tally):
            try:
                if tally.kept >= MAX_ITEMS:
                    raise _BadRow(f"over the limit of {MAX_ITEMS:,} items")
                cells = {role: row.get(name, "") for role, name in columns.items()}
                item, signal = self._read(cells, scale)
                if item.source_id in seen:
                    raise _BadRow("duplicate")
            except _BadRow as reason:
                tally.skip(str(reason))
            else:
                seen.add(item.source_id)
                tally.keep(item, signal)
                yield item, signal
        if not tally.kept:
            raise self._nothing_kept(tally)

    def report(self) -> ImportReport:
        return self._tally.report()

    def _rows(self, tally: Tally) -> Iterator[Row]:
        """The rows that can be parsed; `tally` counts the lines that cannot."""
        path = Path(self.path)
        with _open(path) as file:
            head = file.read(4096)
            if head.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise CollectError(f"{path} is UTF-16 text: save it as UTF-8 and try again.")
            start = file.seek(3 if head.startswith(b"\xef\xbb\xbf") else 0)
            first = head[start:].decode(errors="replace").lstrip(" \r\n").partition("\n")[0]
            if path.suffix.lower() in (".jsonl", ".ndjson", ".json-lines") or first.startswith("{"):
                yield from _json_rows(_lines(file), tally)
                return
            records = _records(_lines(file), max(",;\t|", key=first.count), tally)
            names = [name.strip() for name in next(records, [])]
            for flaw in tally.skipped:
                raise CollectError(f"{path} has no readable column names ({flaw}): save it as CSV in UTF-8.")
            for record in records:
                if len(record) == len(names):
                    yield dict(zip(names, map(str.strip, record), strict=True))
                else:
                    tally.skip("wrong number of columns")

    def _columns(self, names: list[str]) -> dict[str, str]:
        """For each role the column named, else the first that has a usual name."""
        known = {name.casefold(): name for name in reversed(names)} | {name: name for name in names}
        seen = ", ".join(one_line(name)[:40] for name in names[:20])
        columns: dict[str, str] = {}
        for role, usual in ROLES.items():
            named: str | None = getattr(self, role)
            wanted = usual if named is None else (named, named.casefold())
            if match := next((known[name] for name in wanted if name in known), ""):
                columns[role] = match
            elif named or role == "text":
                missing = f"column {named!r} for the {role}" if named else "known text column"
                raise CollectError(f"{self.path} has no {missing}: name one of {seen} with --column {role}=NAME.")
        return columns

    def _found_scale(self, columns: dict[str, str]) -> tuple[float, float]:
        """The narrowest usual scale that holds every rating of the file, else the lowest and the highest."""
        low, high = math.inf, -math.inf
        for row in self._rows(Tally("table")) if "rating" in columns else ():
            number = _number(row.get(columns["rating"], ""))
            if number is not None and math.isfinite(number):
                low, high = min(low, number), max(high, number)
        return next((scale for scale in _SCALES if scale[0] <= low and high <= scale[1]), (low, high))

    def _read(self, cells: Row, scale: tuple[float, float]) -> tuple[Item, Signal | None]:
        text = clean_text(cells["text"])
        if not text:
            raise _BadRow("empty text")
        shown = _reaction(cells) or _rated(_number(cells.get("rating", "")), *scale)
        at, community = parse_date(cells.get("created", "")), clean_text(cells.get("community", ""))[:200]
        item = Item("table", text_id(text), self.kind, text, community, created_at=at)
        if shown is None:
            return item, None
        best = shown[0] > 0 and cells.get("best", "").casefold() in _YES
        return item, Signal(item.id, *shown, at, "import:table", one_line(cells.get("why", "")), best)

    def _nothing_kept(self, tally: Tally) -> CollectError:
        for reason, rows in tally.skipped.most_common(1):
            why = f"{rows} of its {tally.found} rows: {reason}"
            return CollectError(f"Nothing in {self.path} can be used ({why}): mend it or name other columns.")
        return CollectError(f"{self.path} is empty or has no row below its column names: export it again.")


def _open(path: Path) -> BinaryIO:
    try:
        if path.exists() and not path.is_file():  # a pipe or a device cannot be read twice
            raise CollectError(f"{path} is a folder or a device: name one file.")
        return path.open("rb")
    except OSError as error:
        raise CollectError(f"Cannot read {path} ({error.strerror}): check name and permission.") from None


def _lines(file: BinaryIO) -> Iterator[Line]:
    """Physical lines. A flawed one keeps its quotes, so that the row around it is still found whole."""
    while raw := file.readline(MAX_LINE + 1):
        if len(raw) > MAX_LINE and not raw.endswith(b"\n"):
            while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                pass
            yield "", TOO_LONG
            continue
        text = raw.decode(errors="replace")
        flaw = "NUL byte" if b"\0" in raw else "" if text.encode() == raw else "not UTF-8"
        # A carriage return alone ends no line here, and the csv module refuses it.
        yield text.replace("\r\n", "\n").replace("\r", " ").replace("\0", "\ufffd"), flaw


def _json_rows(lines: Iterator[Line], tally: Tally) -> Iterator[Row]:
    """The JSON objects, their values as text; a nested value counts as empty."""
    for text, flaw in lines:
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict) and not flaw:
            yield {k: str(v).strip() if isinstance(v, str | int | float) else "" for k, v in row.items()}
        elif flaw or text.strip():
            tally.skip(flaw or "broken JSON")


def _records(lines: Iterator[Line], delimiter: str, tally: Tally) -> Iterator[list[str]]:
    """CSV records. A quote that is never closed costs the lines it swallowed, at most 2 * MAX_LINE bytes."""

    def asked() -> Iterator[str]:  # by the csv reader: one line and, while a quote is open, the next ones
        size = 0
        for text, flaw in chain([line], lines):
            used.append((text, flaw))
            size += len(text)
            if flaw == TOO_LONG or size > 2 * MAX_LINE:
                return
            yield text

    csv.field_size_limit(max(csv.field_size_limit(), 2 * MAX_LINE))  # process-wide, so never lowered
    for line in lines:
        if not "".join(line).strip():
            continue
        used: list[Line] = []
        try:
            record = next(csv.reader(asked(), delimiter=delimiter, strict=True))
        except (csv.Error, StopIteration):
            for _, flaw in used:
                tally.skip(flaw if flaw == TOO_LONG else "unclosed quote")
            continue
        if flaws := [flaw for _, flaw in used if flaw]:
            tally.skip(flaws[0])
        else:
            yield record


def _reaction(cells: Row) -> tuple[int, float] | None:
    words = _LIKE_BESIDE_DISLIKE if "dislike" in cells else _LIKE
    like = words.get(cells.get("like", "").casefold(), 0)
    dislike = _DISLIKE.get(cells.get("dislike", "").casefold(), 0)
    if 0 in (like, dislike) or (like == 1 and dislike):  # an unknown word, or both liked and disliked
        raise _BadRow("reaction not understood")
    return (like or dislike or 0, 1.0) if like or dislike else None


def _number(text: str) -> float | None:
    """None if nothing was rated, not finite if the text is no number."""
    try:
        return None if text.casefold() in _UNRATED else float(text)
    except ValueError:
        return math.inf


def _rated(number: float | None, low: float, high: float) -> tuple[int, float] | None:
    if number is None:
        return None
    if not low <= number <= high:
        raise _BadRow("rating outside the scale" if math.isfinite(number) else "rating is not a number")
    middle, half = low / 2 + high / 2, high / 2 - low / 2
    # Rounded, so that 3.2 on 1 to 5 is exactly a tenth above the middle: neither like nor dislike.
    offset = round((number - middle) / half, 9) if half else 0.0
    return (offset > 0.1) - (offset < -0.1), abs(offset)
