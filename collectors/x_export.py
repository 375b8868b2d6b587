"""A data export of X: likes with their texts, and the person's own posts."""

import html
import re
from collections.abc import Iterator

from collectors.archive import Archive
from collectors.dates import parse_date
from collectors.item import Item, Signal, clean_text
from collectors.json_events import KeyPath, assigned, elements, events
from collectors.listed import Export, Reading

SHOWN = {"likes": 1, "tweets": 0}  # list -> sign
LISTS = {"like": "likes", "likes": "likes", "tweet": "tweets", "tweets": "tweets"}  # as the file names itself
_FILE = re.compile(r"(?:.*[/_])?(?:likes?|tweets?)(?:-part\d{1,6})?\.js", re.IGNORECASE)
_ID = re.compile(r"\d{1,25}", re.ASCII)


class XExport(Export):
    """The zip, the folder it was unpacked to, or like.js or tweets.js out of it."""

    source = "x_export"
    lacks = "has no like and no own post: give the whole export with its data"

    def _readings(self) -> Iterator[tuple[str, Reading]]:
        archive = Archive(self._path)
        for file_name in archive.names:
            if len(archive.names) > 1 and not _FILE.fullmatch(file_name):
                continue
            with archive.open(file_name) as file:
                name = LISTS.get(assigned(file.read(4096)), "")
            if name:
                for _, row in elements(events(archive, file_name), _whole):
                    yield name, _reading(name, row)


def _whole(path: KeyPath) -> str:
    return "" if path else "all"


def _reading(name: str, row: object) -> Reading:
    inner = row.get("like" if name == "likes" else "tweet", row) if isinstance(row, dict) else None
    if not isinstance(inner, dict):
        return "row not understood"
    cells = {key: str(value) for key, value in inner.items() if isinstance(value, str | int)}
    given = cells.get("tweetId") or cells.get("id_str") or cells.get("id") or ""
    if not _ID.fullmatch(given):
        return "id not understood"
    text = clean_text(html.unescape(cells.get("fullText") or cells.get("full_text") or ""))
    if name == "tweets" and text.startswith("RT @"):
        return "repost"  # somebody else's words, and cut off
    at = parse_date(cells.get("created_at", ""))
    item = Item("x", given, "post", text, created_at=at, url=f"https://x.com/i/web/status/{given}")
    return item, Signal(item.id, SHOWN[name], 1.0, at, f"x:{name}")
