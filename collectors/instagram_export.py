"""A data export of Instagram: liked and saved posts. It says which posts and whose, never what is in them."""

import re
from collections.abc import Iterator

from collectors.archive import Archive
from collectors.dates import parse_date
from collectors.item import Item, Signal, clean_text
from collectors.json_events import KeyPath, elements, events
from collectors.listed import Export, Reading
from collectors.pseudonym import pseudonym

_FILE = re.compile(r"(?:.*/)?[^/]*(liked|saved)_posts[^/]*\.json", re.IGNORECASE)
_LISTS = {"likes_media_likes": "likes", "saved_saved_media": "saved"}
_LINK = re.compile(
    r"https?://(?:[a-z]{1,10}\.)?instagram\.com/(?:[\w.]{1,40}/)?(p|reel|reels|tv)/([A-Za-z0-9_-]{3,60})/?(?:[?#]|$)"
)
_ACCOUNT = re.compile(r"[A-Za-z0-9_.]{1,30}")

Values = list[tuple[str, object]]


class InstagramExport(Export):
    """The zip, the folder it was unpacked to, or liked_posts.json or saved_posts.json out of it."""

    source = "instagram_export"
    lacks = "has no liked or saved post: ask Instagram for JSON with 'Likes' and 'Saved'"

    def _readings(self) -> Iterator[tuple[str, Reading]]:
        archive = Archive(self._path)
        for file_name in archive.names:
            found = _FILE.fullmatch(file_name)
            if not found and len(archive.names) > 1:
                continue
            # The recent layout is an array without a name, so its file has to tell.
            of_file = "saved" if found and found[1].lower() == "saved" else "likes"

            def list_of(path: KeyPath, whole: str = of_file) -> str:
                return _LISTS.get(path[0], "") if len(path) == 1 else "" if path else whole

            for name, row in elements(events(archive, file_name), list_of):
                yield name, _reading(name, row)


def _reading(name: str, row: object) -> Reading:
    if not isinstance(row, dict):
        return "row not understood"
    values = list(_values(row))
    links = (_LINK.match(value) for key, value in values if key in ("href", "value") and isinstance(value, str))
    link = next((found for found in links if found), None)
    if not link:
        return "link not understood"
    at = next((at for key, value in values if key == "timestamp" and (at := parse_date(str(value)))), None)
    url = f"https://www.instagram.com/{link[1].replace('reels', 'reel')}/{link[2]}/"
    author = pseudonym("instagram", _account(row, values))
    item = Item("instagram", link[2], "post", "", author_hash=author, url=url)
    return item, Signal(item.id, 1, 1.0, at, f"instagram:{name}")


def _values(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """All plain values with the key they stand under, in order. Rows are no deeper than JSON may be here."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _values(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from _values(part, key)
    else:
        yield key, value


def _account(row: dict[str, object], values: Values) -> str:
    """Who posted it. Labels are in the language of the account, so the last value that can be a user's name counts."""
    if "label_values" in row:
        names = [value for key, value in values if key == "value" and isinstance(value, str)]
        return next((name for name in reversed(names) if _ACCOUNT.fullmatch(name)), "")
    title = row.get("title")
    return clean_text(_mended(title)) if isinstance(title, str) else ""


def _mended(text: str) -> str:
    """Instagram writes each byte of UTF-8 as a character of its own."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text
