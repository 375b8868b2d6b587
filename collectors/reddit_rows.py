"""One post or comment as Reddit's interface and the dumps of it have it, and the Item it makes."""

import re
from dataclasses import asdict
from datetime import datetime
from typing import Any

from collectors.dates import parse_date
from collectors.item import Item, clean_text
from collectors.pseudonym import pseudonym

FULLNAME = re.compile(r"t[13]_[0-9a-z]{1,13}")
GONE = ("[deleted]", "[removed]", "[ removed by reddit ]", "[deleted by user]")
_ESCAPES = {"&amp;": "&", "&lt;": "<", "&gt;": ">"}  # the three that Reddit writes, even in plain text


def fullname(row: dict[str, Any]) -> str:
    """Such as t3_x or t1_x. Raises KeyError, TypeError or AttributeError for what is no row."""
    name = row.get("name")
    if isinstance(name, str) and FULLNAME.fullmatch(name):
        return name
    return f"{'t1' if 'body' in row and 'link_id' in row else 't3'}_{row['id'].removeprefix('t3_').removeprefix('t1_')}"


def item_of(name: str, row: dict[str, Any]) -> Item | str:
    """The item, or its fullname where its text has been taken away."""
    of_comment = name.startswith("t1_")
    parts = [row.get(key) for key in (("body",) if of_comment else ("title", "selftext"))]
    texts = [_unescaped(part).strip() if isinstance(part, str) else "" for part in parts]
    meta = row.get("_meta")
    # Arctic Shift looks again after 36 hours and keeps the text of what has been deleted meanwhile, with this mark.
    later = isinstance(meta, dict) and meta.get("was_deleted_later")
    text = clean_text("\n\n".join(filter(None, texts)))
    if later or row.get("removed_by_category") or not text or any(part.lower() in GONE for part in texts):
        return name
    where = row.get("permalink")
    if not (isinstance(where, str) and where.startswith("/")):
        link = str(row.get("link_id", "")).removeprefix("t3_")
        where = f"/comments/{link}/_/{name[3:]}/" if of_comment else f"/comments/{name[3:]}/"
    return Item(
        "reddit",
        name,
        "comment" if of_comment else "post",
        text,
        clean_text(str(row.get("subreddit") or ""))[:50],
        pseudonym("reddit", str(row.get("author") or "")),
        created_at=parse_date(str(row.get("created_utc") or "")),
        url=f"https://www.reddit.com{clean_text(where)[:300]}",
    )


def as_plain(item: Item) -> dict[str, Any]:
    """Plain JSON, and back again: the author is a pseudonym there already."""
    return {**asdict(item), "created_at": item.created_at.isoformat() if item.created_at else None}


def from_plain(value: dict[str, Any]) -> Item:
    at = value["created_at"]
    return Item(**{**value, "created_at": datetime.fromisoformat(at) if at else None})


def _unescaped(text: str) -> str:
    return re.sub("&(amp|lt|gt);", lambda found: _ESCAPES[found[0]], text)
