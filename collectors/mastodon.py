"""Favourites and bookmarks of a Mastodon account, with a token that its owner made.

The two questions are asked by our own client and not by Mastodon.py: that library speaks through requests, which cannot
be told to connect to public addresses only, bounds neither the size nor the whole time of an answer, and may sleep five
minutes inside a call. The instance is a host that somebody types, so it gets the guard.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from collectors.dates import parse_date
from collectors.item import CollectError, Item, Signal, clean_text
from collectors.listed import Listed, Reading
from collectors.markup import plain_text
from collectors.pseudonym import pseudonym
from collectors.web import Answer, Web

PAGE = 40  # statuses, the most that an instance gives at once
LISTS = ("favourites", "bookmarks")
_NEXT = re.compile(r'<([^<>]*)>\s*;[^,]*\brel="?next\b')


class Mastodon(Listed):
    """The newest statuses of each list, at most `limit` of each. `instance` is a host such as mastodon.social, `token`
    needs read:favourites and read:bookmarks. Only what is public is taken: not what was meant for followers or for one.

    Raises CollectError for a wrong instance or token and for a service that fails; `web` is for tests.
    """

    source = "mastodon"

    def __init__(
        self,
        instance: str,
        token: str,
        lists: Sequence[Literal["favourites", "bookmarks"]] = ("favourites", "bookmarks"),
        limit: int = 2000,
        *,
        web: Web | None = None,
    ) -> None:
        super().__init__()
        self._base, self._host = _address(instance, https_only=web is None or web.public_only)
        self._token = token.strip()
        if not re.fullmatch(r"[\x21-\x7e]{1,500}", self._token):
            raise CollectError("That is no access token: copy it from Preferences, Development on your instance.")
        if unknown := set(lists).difference(LISTS):
            raise CollectError(f"{', '.join(sorted(unknown))} is no list of Mastodon: name {' or '.join(LISTS)}.")
        self._lists, self._limit, self._web = lists, limit, web

    def _readings(self) -> Iterator[tuple[str, Reading]]:
        with ExitStack() as stack:
            yield from self._asked(self._web or stack.enter_context(Web()))

    def _asked(self, web: Web) -> Iterator[tuple[str, Reading]]:
        for name in self._lists:
            left, after = self._limit, ""
            while left > 0:
                asked = {"limit": str(PAGE)} | ({"max_id": after} if after else {})
                statuses, following = self._page(web, name, asked)
                for status in statuses[:left]:
                    yield name, self._reading(name, status)
                left -= len(statuses)
                if not statuses or following in ("", after):
                    break
                after = following

    def _page(self, web: Web, name: str, asked: dict[str, str]) -> tuple[list[Any], str]:
        """The statuses of a page, and after which one the next page begins."""
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = web.get(f"{self._base}/api/v1/{name}", params=asked, headers=headers)
        if answer.status != 200:
            raise self._refused(answer)
        statuses = answer.json()
        if not isinstance(statuses, list):
            raise CollectError(f"{self._host} gave no list of statuses: is it a Mastodon server?")
        # Of the link only the place is taken: the address in it could lead the token elsewhere.
        link = _NEXT.search(answer.headers.get("link", ""))
        query = parse_qs(urlsplit(link[1]).query) if link else {}
        return statuses, query.get("max_id", [""])[0]

    def _refused(self, answer: Answer) -> CollectError:
        host, wait = self._host, answer.retry_after()
        if answer.status in (401, 403):
            return CollectError(
                f"{host} does not accept this token: make one with read:favourites and read:bookmarks, copy it whole."
            )
        if answer.status == 404:
            return CollectError(f"{host} has no such list: is it a Mastodon server?")
        if answer.status == 429:
            when = f"in {wait / 60:.0f} minutes" if wait and wait > 60 else "in five minutes"
            return CollectError(f"{host} is asked too much: try again {when}.")
        return CollectError(f"{host} answered with status {answer.status}: try again later.")

    def _reading(self, name: str, status: Any) -> Reading:
        if isinstance(status, dict) and isinstance(status.get("reblog"), dict):
            status = status["reblog"]
        if not isinstance(status, dict) or not isinstance(uri := status.get("uri"), str) or not uri:
            return "status not understood"
        if status.get("visibility") not in ("public", "unlisted"):
            return "not public"
        text = clean_text(
            "\n\n".join(filter(None, (clean_text(_text(status, "spoiler_text")), plain_text(_text(status, "content")))))
        )
        if not text:
            return "no text"
        account = status.get("account")
        acct = _text(account, "acct") if isinstance(account, dict) else ""
        if acct and "@" not in acct:  # somebody of this instance: the same name that other instances know
            acct += f"@{self._host}"
        url = _text(status, "url") or uri
        item = Item(
            "mastodon",
            clean_text(uri)[:500],
            "post",
            text,
            author_hash=pseudonym("mastodon", acct),
            created_at=parse_date(_text(status, "created_at")),
            url=clean_text(url)[:500] if url.startswith("https://") else "",
        )
        return item, Signal(item.id, 1, origin=f"mastodon:{name}")  # when it was favoured, Mastodon does not tell


def _text(holder: dict[str, Any], key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""


def _address(instance: str, https_only: bool) -> tuple[str, str]:
    """The address of an instance without a path, and its host. A handle such as @ann@example.social is fine too."""
    said = instance.strip()
    try:
        parts = urlsplit(said if "://" in said else f"https://{said.rpartition('@')[2]}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if (
        not re.fullmatch(r"[A-Za-z0-9.:\-\u0080-\uffff]{1,253}", host)
        or parts.username
        or parts.path.strip("/")
        or parts.query
    ):
        raise CollectError(f"{instance[:100]!r} is no instance: give its name, such as mastodon.social.")
    if parts.scheme != "https" and (https_only or parts.scheme != "http"):
        raise CollectError(f"{host} must be asked by https: your token would be readable on the way.")
    return f"{parts.scheme}://{parts.netloc}", host.lower() if port in (None, 443) else f"{host.lower()}:{port}"
