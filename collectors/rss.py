"""Entries of an RSS or Atom feed: texts by people to react to, without any reaction yet.

The feed is fetched by our own client and the parser gets bytes: given an address, it would fetch that from anywhere.
"""

import calendar
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from collectors.guard import Unreachable
from collectors.item import CollectError, Item, clean_text, one_line, text_id
from collectors.listed import Listed, Reading
from collectors.markup import plain_text
from collectors.pseudonym import pseudonym
from collectors.web import Web

MAX_BYTES = 5_000_000  # of a feed; the parser needs about 20 times as much memory
_FEED = "the address of an RSS or Atom feed"


class Feed(Listed):
    """The entries of one feed, by address (https://) or as a file; at most `limit` of them. `web` is for tests.

    Raises CollectError for what cannot be fetched or is no feed.
    """

    source = "feed"

    def __init__(self, url_or_path: str | Path, limit: int = 500, *, web: Web | None = None) -> None:
        super().__init__()
        self._where, self._limit, self._web = str(url_or_path).strip(), limit, web

    def _readings(self) -> Iterator[tuple[str, Reading]]:
        content, headers = self._content()
        parsed = _parse(content, headers)
        if not parsed.get("version"):
            raise CollectError(f"{self._where[:200]} is no feed: give {_FEED}.")
        title = one_line(plain_text(_text(parsed["feed"], "title")))[:200]
        for number, entry in enumerate(parsed["entries"]):
            within = number < self._limit
            yield "entries", _reading(entry, title) if within else f"over the limit of {self._limit:,} entries"

    def _content(self) -> tuple[bytes, dict[str, str]]:
        """The bytes, and what the parser needs to know: the encoding and where links are relative to."""
        if "://" not in self._where:
            return _read(Path(self._where)), {}
        if self._web:
            answer = self._web.get(self._where)
        else:
            with Web(max_bytes=MAX_BYTES) as web:
                answer = web.get(self._where)
        if answer.status != 200:
            raise Unreachable(f"{self._where[:200]} answered with status {answer.status}: give {_FEED}.")
        return answer.body, {"content-type": answer.headers.get("content-type", ""), "content-location": answer.url}


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CollectError(f"Cannot read {path} ({error.strerror}): check the name, or give {_FEED}.") from None
    if len(content) > MAX_BYTES:
        raise CollectError(f"{path} is larger than {MAX_BYTES // 10**6} MB: that is no feed.")
    return content


def _parse(content: bytes, headers: dict[str, str]) -> Any:
    try:
        import feedparser
    except ImportError:
        raise CollectError("Reading feeds needs feedparser: pip install -r requirements-sources.txt") from None
    try:
        # As a stream: bare bytes would first be tried as the name of a file on this disk.
        return feedparser.parse(io.BytesIO(content), response_headers=headers)
    except Exception:  # of a feed that is damaged in some ways, such as its encoding's name, it raises what comes
        return {}


def _reading(entry: Any, community: str) -> Reading:
    title, body = plain_text(_text(entry, "title")), plain_text(_text(entry, "summary"))
    # Posts without a title get the beginning of their text as one.
    text = clean_text(body if body.startswith(title.rstrip(".\u2026 ")) else f"{title}\n\n{body}")
    if not text:
        return "no text"
    link = clean_text(_text(entry, "link"))
    return (
        Item(
            "rss",
            text_id(_text(entry, "id") or link or text),
            "post",
            text,
            community,
            pseudonym("rss", _text(entry, "author")),
            created_at=_when(entry.get("published_parsed") or entry.get("updated_parsed")),
            url=link[:500] if link.startswith(("https://", "http://")) else "",
        ),
        None,
    )


def _text(holder: Any, key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""


def _when(parsed: Any) -> datetime | None:
    """The date of the parser, a time tuple in UTC."""
    try:
        return datetime.fromtimestamp(calendar.timegm(parsed), UTC) if parsed else None
    except (ValueError, TypeError, OverflowError, OSError):
        return None
