"""Which source a file is, found by looking inside: people rename what they downloaded."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from collectors.archive import Archive
from collectors.instagram_export import InstagramExport
from collectors.item import MAX_LINE, CollectError, Collector, clean_text
from collectors.json_events import Damaged, assigned, events
from collectors.reactions import Reactions
from collectors.reddit_export import RedditExport, files_of
from collectors.table import Table
from collectors.tiktok_export import TikTokExport, text_list
from collectors.x_export import LISTS, XExport

_EXPORTS: dict[str, Callable[[str | Path], Collector]] = {
    "reddit_export": RedditExport,
    "tiktok_export": TikTokExport,
    "instagram_export": InstagramExport,
    "x_export": XExport,
    "reactions": Reactions,
}
SOURCES = (*_EXPORTS, "table")
_NAMES = {
    "reddit_export": "a Reddit export",
    "tiktok_export": "a TikTok export",
    "instagram_export": "an Instagram export",
    "x_export": "an X export",
    "reactions": "a file of reactions",
    "table": "a table",
}
READABLE = "exports of Reddit, TikTok, Instagram and X, tables (CSV, JSON lines) and reactions files can be read"

MAX_EVENTS = 2_000_000  # of JSON looked at until a file is given up; a few seconds
MAX_LOOKED = 2_000  # files of an archive
_ZIP = b"PK\x03\x04"
_NEVER = re.compile(r"(message|chat|inbox|ip_logs|login|comment)[^/]*$", re.IGNORECASE)  # not even looked into
_LIKELY = re.compile(r"user_data|(liked|saved)_posts|(^|[/_])(likes?|tweets?)(-part\d+)?\.js$", re.IGNORECASE)
_KEYS = dict.fromkeys(  # JSON keys that stand in one kind of export only
    ("like list", "itemfavoritelist", "favoritevideolist", "video browsing history", "likes and favorites"),
    "tiktok_export",
) | dict.fromkeys(("likes_media_likes", "saved_saved_media", "label_values"), "instagram_export")
# Any two of these, at the top, are TikTok's too: what is asked for may stand behind years of messages.
_TOP = {"activity", "your activity", "comment", "direct message", "direct messages", "profile and settings"}
_BLOCK = re.compile(rb"Date: [^\n]{1,40}\nLink: http")


def detect(path: str | Path) -> str:
    """One of SOURCES, by content. Raises CollectError, saying what was seen, for what no collector reads."""
    archive = Archive(path)
    if not archive.names:
        raise CollectError(f"{path} is empty: {READABLE}.")
    for name in (name for part in files_of(archive.names).values() for name in part):
        if _is_of_reddit(_head(archive, name)):
            return "reddit_export"
    if archive.is_single:
        return _single(archive)
    left = iter(range(MAX_EVENTS))
    zips = False
    for name in sorted(archive.names, key=lambda name: not _LIKELY.search(name))[:MAX_LOOKED]:
        if not _NEVER.search(name):
            head = _head(archive, name)
            if kind := _kind(archive, name, head, left):
                return kind
            zips |= head.startswith(_ZIP)
    if zips and archive.path.is_dir():
        raise CollectError(f"{path} is a folder with a zip in it: give the zip itself.")
    if zips:
        raise CollectError(f"{path} is a zip inside a zip: unpack the outer one and give the inner.")
    shown = ", ".join(clean_text(name)[-60:] for name in archive.names[:3])
    raise CollectError(f"{path} holds {len(archive.names):,} files such as {shown}, and no likes: {READABLE}.")


def open_source(path: str | Path, source: str = "auto", **table_options: Any) -> Collector:
    """The collector for a file or folder. `table_options` name columns and scale, where it is a table."""
    found = detect(path)
    article, _, name = _NAMES[found].partition(" ")
    if source not in ("auto", found):
        wanted = _NAMES[source].replace("export", "one") if "export" in found else _NAMES[source]
        chosen = name.removesuffix(" export")
        raise CollectError(
            f"{path} is {article} {name}, not {wanted}: choose {chosen} or leave the source to be found."
        )
    if found == "table":
        return Table(path, **table_options)
    if table_options:
        raise CollectError(f"{path} is {article} {name}: columns are named and scales given for tables only.")
    return _EXPORTS[found](path)


def _single(archive: Archive) -> str:
    """What one file is that is no zip."""
    [name] = archive.names
    head = _head(archive, name)
    if kind := _kind(archive, name, head, iter(range(MAX_EVENTS))):
        return kind
    if head.startswith(_ZIP):
        raise CollectError(f"{archive.path} is a damaged zip: download the export again.")
    if _BLOCK.match(head.replace(b"\r", b"")):
        raise CollectError(f"{archive.path} is a list of TikTok: give it its name again, such as Like List.txt.")
    if _is_of_reddit(head):
        raise CollectError(f"{archive.path} is a list of Reddit: give it its name again, such as post_votes.csv.")
    if assigned(head):
        raise CollectError(f"{archive.path} is a file of X without likes: give data/like.js or data/tweets.js.")
    if head[:1] in (b"{", b"["):
        return _lines_of_json(archive, name)
    broken = len(head) - len(head.decode(errors="ignore").encode()) > 3  # the last character may be cut
    if b"\0" in head and broken and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise CollectError(f"{archive.path} is no text: {READABLE}.")
    return "table"


def _kind(archive: Archive, name: str, head: bytes, left: Iterator[int]) -> str:
    """The export that a file belongs to, "" where it shows none. `left` is how many events of JSON may be read."""
    if assigned(head) in LISTS:
        return "x_export"
    if text_list(name) and (not head or b"Link:" in head or b"no data" in head):
        return "tiktok_export"
    if head[:1] not in (b"{", b"["):
        return ""
    depth, top = 0, set()
    try:
        for (event, value), _ in zip(events(archive, name), left, strict=False):
            depth += event.startswith("start_")
            depth -= event.startswith("end_")
            key = str(value).strip().casefold() if event == "map_key" else ""
            if kind := _KEYS.get(key):
                return kind
            if depth == 1 and key in _TOP:
                top.add(key)
                if len(top) == 2:
                    return "tiktok_export"
    except Damaged:
        pass  # lines of JSON look so as well
    return ""


def _lines_of_json(archive: Archive, name: str) -> str:
    with archive.open(name) as file:
        line = file.readline(MAX_LINE + 1).removeprefix(b"\xef\xbb\xbf")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if isinstance(row, dict):
        return "reactions" if {"user", "item", "signal"} <= row.keys() else "table"
    if archive.path.suffix.lower() in (".jsonl", ".ndjson", ".json-lines"):
        return "table"
    for _ in events(archive, name):  # raises where it is cut off or damaged
        pass
    raise CollectError(f"{archive.path} is JSON without a list of likes: {READABLE}.")


def _head(archive: Archive, name: str) -> bytes:
    with archive.open(name) as file:
        return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()


def _is_of_reddit(head: bytes) -> bool:
    columns = head.partition(b"\n")[0].lower().replace(b'"', b"").strip().split(b",")
    return {b"id", b"permalink"} <= set(columns)
