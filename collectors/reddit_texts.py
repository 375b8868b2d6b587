"""Full texts for the ids in an export of Reddit: from a dump on this disk, or from the Arctic Shift archive.

An export has ids and the words of links. What its author or a moderator has taken away since is not given out, even
where the dump still holds it: its id stands in `removed`, so that a caller can drop the text too.
"""

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from collectors.guard import Unreachable
from collectors.item import CollectError, Item
from collectors.kept import Kept
from collectors.reddit_rows import FULLNAME, as_plain, from_plain, fullname, item_of
from collectors.web import Answer, Web, pause

MAX_LINE = 4_000_000  # bytes; a post of 40,000 characters with its galleries stays far below
WINDOW = 2**31  # bytes of memory that the dumps are packed to need
BATCH = 250  # ids of one question: half of what the service takes, so that the answer stays within bounds
FRESH = 30 * 86_400.0  # seconds; a kept text that is older is asked for again, to learn of its removal
MAX_WAIT = 60.0  # seconds, of the one retry
_IDS = re.compile(rb'"(?:id|name)"\s*:\s*"(?:t[13]_)?([0-9a-z]{1,13})"')

Found = Item | str | None  # an item, the fullname of what was removed, or a line that cannot be read


class Texts:
    """The items with their text, streamed anew by each iteration; the counts are those of the latest one."""

    def __init__(self, wanted: Collection[str], source: Callable[[frozenset[str]], Iterator[Found]]) -> None:
        self._wanted = frozenset(name for name in wanted if FULLNAME.fullmatch(name))
        self._source = source
        self._found: set[str] = set()
        self.removed: set[str] = set()  # fullnames whose text is gone: drop what you hold of them
        self.broken = 0  # lines

    @property
    def found(self) -> int:
        return len(self._found)

    @property
    def missing(self) -> frozenset[str]:
        """Fullnames of which nothing came so far."""
        return self._wanted - self._found - self.removed

    def __iter__(self) -> Iterator[Item]:
        self._found, self.removed, self.broken = set(), set(), 0
        for found in self._source(self._wanted) if self._wanted else ():
            name = found.source_id if isinstance(found, Item) else found
            if name is None:
                self.broken += 1
            elif name not in self._found and name not in self.removed:  # the first one decides
                (self._found if isinstance(found, Item) else self.removed).add(name)
                if isinstance(found, Item):
                    yield found
                if len(self._found) + len(self.removed) == len(self._wanted):
                    return


def from_dump(path: str | Path, wanted: Collection[str]) -> Texts:
    """Read a line file of Pushshift or Arctic Shift, plain, .gz or .zst, for the fullnames (t3_x, t1_x) in `wanted`.

    Iterating raises CollectError for a file that cannot be read. `broken` counts what is no line of a dump.
    """
    return Texts(wanted, lambda names: _in_dump(Path(path), names))


def from_service(
    wanted: Collection[str],
    *,
    cache: Path,
    web: Web | None = None,
    base: str = "https://arctic-shift.photon-reddit.com",
    stopped: Callable[[], bool] = lambda: False,
) -> Texts:
    """Ask the archive for the fullnames in `wanted`, 250 at a time; answers are kept in the folder `cache`.

    The archive is one person's gift and promises nothing: a question that fails is asked once more, then iterating
    raises CollectError, and the next call goes on from there.
    """
    return Texts(wanted, lambda names: _from_archive(names, cache, web, base, stopped))


def _in_dump(path: Path, wanted: frozenset[str]) -> Iterator[Found]:
    ids = {name[3:].encode() for name in wanted}
    for line in _lines(path):
        if line is None or not (line.startswith(b"{") and line.endswith(b"}")):
            yield None
        # Parsing every line would take most of the time: dumps hold millions, a person wants thousands.
        elif any(found in ids for found in _IDS.findall(line)):
            try:
                row = json.loads(line)
                name = fullname(row)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                yield None
                continue
            if name in wanted:
                yield item_of(name, row)


def _lines(path: Path) -> Iterator[bytes | None]:
    """The lines that hold something, None for one that is too long."""
    try:
        with path.open("rb") as raw, _unpacked(path, raw) as file:
            while line := file.readline(MAX_LINE + 1):
                if len(line) > MAX_LINE:
                    while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                        pass
                    yield None
                elif line := line.strip():
                    yield line
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise CollectError(f"{path} is cut off or damaged: download it again.") from None
    except OSError as error:
        raise CollectError(f"Cannot read {path} ({error.strerror}): check name and permission.") from None


def _unpacked(path: Path, raw: BinaryIO) -> BinaryIO:
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    if path.suffix != ".zst":
        return raw
    try:
        import zstandard
    except ImportError:
        raise CollectError("Reading .zst needs zstandard: pip install -r requirements-sources.txt") from None

    class Unpacked(io.RawIOBase):
        """The library's reader, whose errors are its own and not the file's."""

        _reader = zstandard.ZstdDecompressor(max_window_size=WINDOW).stream_reader(raw, read_across_frames=True)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any, /) -> int:
            try:
                return self._reader.readinto(buffer)
            except (zstandard.ZstdError, MemoryError):
                raise CollectError(f"{path} is damaged, or needs more memory than there is.") from None

    return cast(BinaryIO, io.BufferedReader(Unpacked(), 1 << 20))


def _from_archive(
    wanted: frozenset[str], cache: Path, web: Web | None, base: str, stopped: Callable[[], bool]
) -> Iterator[Found]:
    with ExitStack() as stack:
        kept = stack.enter_context(Kept(cache / "reddit-texts.jsonl"))
        known = sorted(name for name in wanted if name in kept and kept.age(name) < FRESH)
        for name in known:
            value = kept[name]
            yield name if value is None else from_plain(value)
        left = wanted.difference(known)
        web = web or (stack.enter_context(Web()) if left else None)
        for kind, path in (("t3", "posts"), ("t1", "comments")):
            names = iter(sorted(name for name in left if name.startswith(kind)))
            while web and (batch := frozenset(islice(names, BATCH))):
                if stopped():
                    return
                for row in _asked(web, f"{base}/api/{path}/ids", batch, stopped):
                    found = _reading(row, batch)
                    if found is not None:
                        kept.keep(*((found, None) if isinstance(found, str) else (found.source_id, as_plain(found))))
                    yield found


def _asked(web: Web, url: str, batch: frozenset[str], stopped: Callable[[], bool]) -> list[Any]:
    failure = ""
    for last in (False, True):
        seconds: float | None = None
        try:
            answer = web.get(url, params={"ids": ",".join(sorted(name[3:] for name in batch))})
            rows = _rows(answer)
        except Unreachable as error:
            failure = str(error).partition(": ")[0]
        else:
            if rows is not None:
                return rows
            seconds = answer.retry_after()
            failure = f"The archive answered with status {answer.status}"
            if answer.status != 429 and answer.status < 500:
                break
        seconds = 2.0 if seconds is None else seconds
        if last or seconds > MAX_WAIT or stopped():
            break
        pause(seconds, stopped)
    raise CollectError(f"{failure}: what came is kept. Start again later to go on from there.")


def _rows(answer: Answer) -> list[Any] | None:
    if answer.status != 200:
        return None
    told = answer.json()
    rows = told.get("data") if isinstance(told, dict) else None
    if not isinstance(rows, list):
        raise Unreachable("The archive gave no list of posts: try later.")
    return rows


def _reading(row: Any, wanted: frozenset[str]) -> Found:
    try:
        name = fullname(row)
        return item_of(name, row) if name in wanted else None
    except (KeyError, TypeError, AttributeError):
        return None
