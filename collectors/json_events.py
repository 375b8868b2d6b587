"""JSON of any size, read event by event: what is not asked for is passed over and never kept.

Exports hold messages and sign-ins beside the likes, so nothing here builds more than one row of a list.
"""

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

import ijson

from collectors.archive import Archive
from collectors.item import CollectError

MAX_DEPTH = 64
MAX_WORD = 1_000_000  # bytes without a quotation mark: no text, number or gap of an export is as long
MAX_ROW, MAX_STRING = 500, 20_000  # values of one row, characters of each; the rest is passed over
BUFFER = 1 << 16

Event = tuple[str, object]
KeyPath = tuple[str, ...]  # the keys that lead to a value in lower case, "[]" for an array
_ASSIGNED = re.compile(rb"\s*window\.YTD\.([a-z_]+)\.part\d+\s*=")
_QUOTE = re.compile(rb'(?<!\\)"')


class Damaged(CollectError):
    """The JSON breaks off or is none."""


def assigned(head: bytes) -> str:
    """The name in `window.YTD.<name>.part0 =`, with which files of X begin; "" in others."""
    found = _ASSIGNED.match(head.removeprefix(b"\xef\xbb\xbf"))
    return found[1].decode() if found else ""


def events(archive: Archive, name: str) -> Iterator[Event]:
    """The events of one file, as ijson names them. Raises Damaged where the JSON breaks off, and CollectError for one
    that is nested too deeply or holds a text of unlikely length.
    """
    where = f"{name} of {archive.path}" if archive.path.name != name else str(archive.path)
    depth = 0
    with archive.open(name) as file:
        try:
            for event, value in ijson.basic_parse(_Guarded(file, where), use_float=True, buf_size=BUFFER):
                depth += event.startswith("start_")
                depth -= event.startswith("end_")
                if depth > MAX_DEPTH:
                    raise CollectError(f"{where} is nested more than {MAX_DEPTH} deep: that is no export of likes.")
                yield event, value
        except (ijson.JSONError, UnicodeDecodeError):
            raise Damaged(f"{where} is cut off or damaged: download the export again.") from None


def elements(stream: Iterator[Event], named: Callable[[KeyPath], str]) -> Iterator[tuple[str, object]]:
    """The elements of the arrays that `named` gives a name by their path ("" for those to pass over), one at a time."""
    path: list[str] = []  # of the containers that are open, each with the key it stands under
    key, names = "", [""]
    for event, value in stream:
        if event == "map_key":
            key = str(value).strip().casefold()[:100]
        elif names[-1]:
            if event == "end_array":
                path.pop()
                names.pop()
            else:
                yield names[-1], _value(stream, event, value)
        elif event in ("start_map", "start_array"):
            path.append(key)
            names.append(named(tuple(path[1:])) if event == "start_array" else "")
            key = "[]"
        elif event in ("end_map", "end_array"):
            path.pop()
            names.pop()
            key = "[]"  # of the next one in an array; in a map its key comes first


def _value(stream: Iterator[Event], event: str, value: object) -> object:
    """One element as plain Python, no larger than MAX_ROW values."""
    holders: list[dict[str, object] | list[object]] = []
    keys: list[str] = []
    left = MAX_ROW
    while True:
        if event == "map_key":
            keys[-1] = str(value)[:100]
        elif event.startswith("end_"):
            value = holders.pop()
            keys.pop()
            if not holders:
                return value
        else:
            new: object = {} if event == "start_map" else [] if event == "start_array" else value
            new = new[:MAX_STRING] if isinstance(new, str) else new
            left -= 1
            if holders and left > 0:
                holder = holders[-1]
                if isinstance(holder, dict):
                    holder[keys[-1]] = new
                else:
                    holder.append(new)
            if isinstance(new, dict | list):
                holders.append(new)
                keys.append("")
            elif not holders:
                return new
        event, value = next(stream)


class _Guarded:
    """What the parser reads: past a byte order mark and X's assignment, and never a word of endless length."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        self._file, self._where, self._run, self._last = file, where, 0, b""
        self._ahead = file.read(4096).removeprefix(b"\xef\xbb\xbf")
        if found := _ASSIGNED.match(self._ahead):
            self._ahead = self._ahead[found.end() :]

    def read(self, size: int = -1) -> bytes:
        if size == 0:  # the parser asks so whether it gets bytes
            return b""
        got, self._ahead = self._ahead or self._file.read(BUFFER if size < 0 else size), b""
        # Asked piece by piece, with the backslash before: it may escape the first quotation mark.
        self._run = 0 if _QUOTE.search(self._last + got) else self._run + len(got)
        self._last = b"\\" if got.endswith(b"\\") else b""
        if self._run > MAX_WORD:
            raise CollectError(f"{self._where} holds a text of more than {MAX_WORD // 10**6} MB: that is no export.")
        return got
