"""A data export of Reddit: votes, saved and hidden posts, and what the person wrote.

Only the lists named here are ever opened, and of their columns only the ones asked for: no message, no address.
"""

import csv
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from collectors.archive import Archive
from collectors.dates import parse_date
from collectors.item import CollectError, Item, Signal, clean_text
from collectors.listed import Export, Reading
from collectors.reddit_rows import GONE

MAX_LINE = 256_000  # bytes read as one line
MAX_KNOWN = 20_000_000  # characters of the person's own texts kept to replace stand-ins
MAX_COMMUNITIES = 10_000
SHOWN = {  # list -> what a row of it shows: sign and strength; of a vote it is the direction that tells
    "post_votes": (1, 1.0),
    "comment_votes": (1, 1.0),
    "saved_posts": (1, 1.0),
    "saved_comments": (1, 1.0),
    "hidden_posts": (0, 0.3),
    "posts": (0, 1.0),
    "comments": (0, 1.0),
}
_SUBSCRIBED = "subscribed_subreddits"
_NAME = re.compile(rf"(?:.*/)?({'|'.join([*SHOWN, _SUBSCRIBED])})(?:_(\d{{1,6}}))?\.csv", re.IGNORECASE)
_DIRECTIONS = {"up": 1, "down": -1, "none": 0, "removed": 0, "": 0}
_ID = re.compile(r"[0-9a-z]{1,13}")
_THREAD = re.compile(
    r"/(?:r/([A-Za-z0-9_-]{1,50})|u(?:ser)?/([A-Za-z0-9_-]{1,50}))/comments/([0-9a-z]{1,13})"
    r"(?:/([^/]{0,1000}))?(?:/([0-9a-z]{1,13}))?/?"
)


class _Link(NamedTuple):
    community: str
    words: str
    url: str


class RedditExport(Export):
    """The zip, the folder it was unpacked to, or one of its CSV files. `communities` are those the person is
    subscribed to, known after a pass.
    """

    source = "reddit_export"
    lacks = "has no vote, no saved and no own post: ask Reddit for all your data"
    communities: tuple[str, ...] = ()

    def _readings(self) -> Iterator[tuple[str, Reading]]:
        archive = Archive(self._path)
        files = files_of(archive.names)
        if not files:
            raise CollectError(
                f"{self._path} holds none of Reddit's lists: give the export with file names such as post_votes.csv."
            )
        self.communities = self._subscribed(archive, files)
        known = _own_texts(archive, files)
        for name in SHOWN:
            for row in _rows_of(archive, files, name):
                yield name, row if isinstance(row, str) else _reading(name, row, known)

    def _subscribed(self, archive: Archive, files: dict[str, list[str]]) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for row in _rows_of(archive, files, _SUBSCRIBED):
            if isinstance(row, dict) and (name := clean_text(row.get("subreddit", ""))[:50]):
                found[name] = None
                if len(found) == MAX_COMMUNITIES:
                    break
        return tuple(found)


def files_of(names: tuple[str, ...]) -> dict[str, list[str]]:
    """List -> the files that hold it, the parts of a split one in their order."""
    found: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        if match := _NAME.fullmatch(name):
            found.setdefault(match[1].lower(), []).append((int(match[2] or 0), name))
    return {list_name: [name for _, name in sorted(parts)] for list_name, parts in found.items()}


def _rows_of(archive: Archive, files: dict[str, list[str]], name: str) -> Iterator[dict[str, str] | str]:
    for file_name in files.get(name, ()):
        with archive.open(file_name) as file:
            yield from _rows(file)


def _rows(file: BinaryIO) -> Iterator[dict[str, str] | str]:
    """Rows by lower-case column, or the reason why one cannot be read."""
    reader = csv.reader(_lines(file), strict=True)  # strict: a quote gone wrong must not swallow the next rows' address
    columns: list[str] = []
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield "row not understood"
            continue
        if not columns:
            columns = [name.strip().lower() for name in row]
        elif len(row) == len(columns):
            yield dict(zip(columns, row, strict=True))
        elif row:
            yield "wrong number of columns"


def _lines(file: BinaryIO) -> Iterator[str]:
    mark = "\ufeff"
    while raw := file.readline(MAX_LINE):
        yield raw.decode(errors="replace").removeprefix(mark)
        mark = "\0"  # stands at the start of a file only


def _own_texts(archive: Archive, files: dict[str, list[str]]) -> dict[str, str]:
    """Item id -> text of what the person wrote: they vote for their own posts as well."""
    known: dict[str, str] = {}
    size = 0
    for name in ("posts", "comments"):
        for row in _rows_of(archive, files, name):
            reading = row if isinstance(row, str) else _reading(name, row, known)
            if not isinstance(reading, str):
                known[reading[0].source_id] = reading[0].text
                size += len(reading[0].text) + 100
            if size > MAX_KNOWN:
                return known
    return known


def _reading(name: str, row: dict[str, str], known: dict[str, str]) -> Reading:
    kind = "comment" if "comment" in name else "post"
    prefix = "t1_" if kind == "comment" else "t3_"
    given = row.get("id", "").strip().lower().removeprefix(prefix)
    if not _ID.fullmatch(given):
        return "id not understood"
    sign, strength = SHOWN[name]
    if "votes" in name:
        direction = _DIRECTIONS.get(row.get("direction", "?").strip().lower())
        if not direction:
            return "direction not understood" if direction is None else "vote taken back"
        sign = direction
    link, at = _link(row.get("permalink", ""), kind), parse_date(row.get("date", ""))
    if name in ("posts", "comments"):
        body = clean_text(row.get("body", ""))
        text = clean_text("\n\n".join([row.get("title", ""), body]))
        if not text or body.lower() in GONE:
            return "deleted" if text else "empty text"
        link = link or _Link("", "", "")
        community = clean_text(row.get("subreddit", ""))[:50] or link.community
        item = Item("reddit", prefix + given, kind, text, community, created_at=at, url=link.url)
    elif link:
        own = known.get(prefix + given, "")
        stand_in = bool(link.words) and not own
        item = Item("reddit", prefix + given, kind, own or link.words, link.community, url=link.url, stand_in=stand_in)
    else:
        return "link not understood"
    return item, Signal(item.id, sign, strength, at, f"reddit:{name}")


def _link(permalink: str, kind: str) -> _Link | None:
    """What a link to a post or comment says; None if it is none of Reddit's. A comment's words are its thread's."""
    try:
        parts = urlsplit(permalink.strip()[:2000])
        host = parts.hostname
    except ValueError:
        return None
    found = _THREAD.fullmatch(parts.path)
    ours = host is None or host == "reddit.com" or host.endswith(".reddit.com")
    if not found or not ours or parts.scheme not in ("", "http", "https"):
        return None
    community, profile, thread, slug, comment = (part or "" for part in found.groups())
    slug = unquote(slug)
    words = "" if kind == "comment" and slug == "comment" else clean_text(slug.replace("_", " "))
    where = f"r/{community}" if community else f"user/{profile}"
    steps = [step for step in (thread, quote(slug, safe=""), comment) if step]
    return _Link(
        community, words[:1].upper() + words[1:], f"https://www.reddit.com/{where}/comments/{'/'.join(steps)}/"
    )
