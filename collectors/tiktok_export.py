"""A data export of TikTok: likes, favourites and what was watched, from its JSON or its text files.

An export says which videos, not what is in them: most items wait for their text.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from collectors.archive import Archive
from collectors.dates import parse_date
from collectors.item import Item, Signal, clean_text
from collectors.json_events import KeyPath, elements, events
from collectors.listed import Export, Reading

MAX_DEPTH = 8  # keys above a list
MAX_LINE = 20_000  # bytes of a line of a text file
SHOWN = {"likes": (1, 1.0), "favourites": (1, 1.0), "watched": (0, 0.1)}  # list -> sign and strength
# A VideoList elsewhere holds what the person uploaded, so the key above a list must fit as well.
_LISTS: dict[KeyPath, str] = {
    ("like list", "itemfavoritelist"): "likes",
    ("favorite videos", "favoritevideolist"): "favourites",
    ("watch history", "videolist"): "watched",
    ("video browsing history", "videolist"): "watched",
}
_PRIVATE = re.compile("message|chat|tako|login|comment")
_TEXT_FILE = re.compile(
    r"(?:.*/)?(?:(like list)|(favorite videos)|(?:watch|(?:video )?browsing) history)\.txt", re.IGNORECASE
)
_LINK = re.compile(r"https?://[\w.-]{0,100}tiktok[\w.-]{1,100}/(?:[^?#\s]{0,200}/)?(?:video|photo|v)/(\d{6,25})(?!\d)")


class TikTokExport(Export):
    """The zip, the folder it was unpacked to, or the JSON or a text file out of it."""

    source = "tiktok_export"
    lacks = "has no likes, favourites or watched videos: ask TikTok for JSON with 'Likes and Favorites'"

    def _readings(self) -> Iterator[tuple[str, Reading]]:
        archive = Archive(self._path)
        for file_name in _json_files(archive.names):
            for name, row in elements(events(archive, file_name), list_of):
                yield name, _reading(name, row)
        for file_name in archive.names:
            if name := text_list(file_name):
                with archive.open(file_name) as file:
                    for block in _blocks(file):
                        yield name, _reading(name, block)


def list_of(path: KeyPath) -> str:
    """The name of the list that stands at a path of keys, "" for what is not read."""
    if len(path) > MAX_DEPTH or any(_PRIVATE.search(key) for key in path):
        return ""
    return _LISTS.get(path[-2:], "")


def text_list(file_name: str) -> str:
    """The name of the list in a text file, "" for a file that is none."""
    found = _TEXT_FILE.fullmatch(file_name)
    return "" if not found else "likes" if found[1] else "favourites" if found[2] else "watched"


def _json_files(names: tuple[str, ...]) -> list[str]:
    if len(names) == 1:
        return [] if text_list(names[0]) else list(names)  # a single file may bear any name
    files = [name for name in names if name.lower().endswith(".json")]
    return [name for name in files if "user_data" in name.lower()] or files


def _blocks(file: BinaryIO) -> Iterator[dict[str, str]]:
    """Rows of a text file: lines "Key: value", an empty line after each row."""
    block: dict[str, str] = {}
    while raw := file.readline(MAX_LINE):
        key, colon, value = raw.decode(errors="replace").lstrip("\ufeff").partition(":")
        key = key.strip().lower()
        if block and (not colon or key in block):
            yield block
            block = {}
        if key in ("date", "link", "videolink", "title"):
            block[key] = value.strip()
    if block:
        yield block


def _reading(name: str, row: object) -> Reading:
    if not isinstance(row, dict):
        return "row not understood"
    cells = {key.strip().casefold(): value for key, value in row.items() if isinstance(value, str | int | float)}
    link = _LINK.match(str(cells.get("link") or cells.get("videolink") or "").strip()[:500])
    if not link:
        return "link not understood"
    video, sign_and_strength = link[1], SHOWN[name]
    text = clean_text(str(cells.get("title", "")))
    item = Item("tiktok", video, "post", text, url=f"https://www.tiktok.com/video/{video}")
    return item, Signal(item.id, *sign_and_strength, parse_date(str(cells.get("date", ""))), f"tiktok:{name}")
