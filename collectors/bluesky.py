"""The public likes of a Bluesky account, without a sign-in.

Likes lie as records on the server of the person, their texts at the public view of the network: getActorLikes, which
sounds right, answers only about oneself. The atproto library knows the calls and checks the answers; it asks through
our own client, because the person's server is named by a document that anybody may write.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import httpx

from collectors.dates import parse_date
from collectors.item import CollectError, Item, Signal, clean_text
from collectors.listed import Listed, Reading
from collectors.pseudonym import pseudonym
from collectors.web import Web

PAGE, BATCH = 100, 25  # likes and posts of one call, the most that is given
_DID = re.compile(r"did:plc:[a-z2-7]{24}|did:web:[A-Za-z0-9.-]{1,253}(?:%3A\d{1,5})?")
_HANDLE = re.compile(r"(?:[a-z0-9-]{1,63}\.)+[a-z][a-z0-9-]{0,62}")
_POST = re.compile(r"at://(did:[a-z]+:[A-Za-z0-9._:%-]{1,300})/app\.bsky\.feed\.post/([A-Za-z0-9._:~-]{1,512})")


class Bluesky(Listed):
    """The newest `limit` likes of `account`: a handle such as ann.bsky.social, a DID, or the address of the profile.

    Raises CollectError for an account that is not there and a service that fails; what came before a break has been
    given. `seconds` bound each call. `appview`, `plc` and `web` are for tests.
    """

    source = "bluesky"

    def __init__(
        self,
        account: str,
        limit: int = 10_000,
        appview: str = "https://public.api.bsky.app",
        *,
        plc: str = "https://plc.directory",
        seconds: float = 20.0,
        web: Web | None = None,
    ) -> None:
        super().__init__()
        self._account = account_of(account)
        self._limit, self._appview, self._plc, self._seconds, self._web = limit, appview, plc, seconds, web

    def _readings(self) -> Iterator[tuple[str, Reading]]:
        atproto = _library()
        with ExitStack() as stack:
            web = self._web or stack.enter_context(Web(seconds=self._seconds))
            request = stack.enter_context(closing(atproto.Request(transport=_Through(web))))
            view = atproto.Client(self._appview, request=request)
            did = self._did(view)
            server = atproto.Client(self._server(atproto, web, did), request=request)
            for page in self._pages(server, did):
                at: dict[str, Any] = {}  # post -> when it was liked
                for record in page:
                    uri = getattr(getattr(record.value, "subject", None), "uri", None)
                    if not isinstance(uri, str) or not _POST.fullmatch(uri):
                        yield "likes", "not a post"
                    elif uri in at:
                        yield "likes", "duplicate"
                    else:
                        at[uri] = record.value.created_at
                uris = list(at)
                for start in range(0, len(uris), BATCH):
                    batch = uris[start : start + BATCH]
                    posts = self._posts(atproto, view, batch)
                    for uri in batch:
                        yield "likes", _reading(uri, at[uri], posts)

    def _did(self, view: Any) -> str:
        if self._account.startswith("did:"):
            return self._account
        try:
            did = view.com.atproto.identity.resolve_handle({"handle": self._account}).did
        except Exception as error:
            if _status(error) == 400:
                raise CollectError(f"Bluesky has no account {self._account}: check the handle.") from None
            raise self._told(error, "Bluesky") from error
        if not isinstance(did, str) or not _DID.fullmatch(did):
            raise CollectError(f"Bluesky names an identity for {self._account} that cannot be read: try later.")
        return did

    def _server(self, atproto: SimpleNamespace, web: Web, did: str) -> str:
        """The address of the server that holds the account, from the document of its identity."""
        if did.startswith("did:web:"):
            answer = web.get(f"https://{did.removeprefix('did:web:').replace('%3A', ':')}/.well-known/did.json")
        else:
            answer = web.get(f"{self._plc}/{did}")
        if answer.status in (404, 410):
            raise CollectError(f"The account {self._account} does not exist or was deleted: check the handle.")
        if answer.status != 200:
            raise CollectError(f"The directory of accounts answered with status {answer.status}: try later.")
        said = answer.json()
        try:
            document = atproto.DidDocument.from_dict(said)
            server = document.get_pds_endpoint() if document.id == did else None
        except (ValueError, TypeError):
            server = None
        if not isinstance(server, str):
            raise CollectError(f"The account {self._account} names no server that holds it: check the handle.")
        return server

    def _pages(self, server: Any, did: str) -> Iterator[list[Any]]:
        """Pages of likes, newest first. An empty page or the same place twice is the end, so that there is one."""
        left, after = self._limit, None
        while left > 0:
            asked = {"repo": did, "collection": "app.bsky.feed.like", "limit": min(PAGE, left), "cursor": after}
            try:
                answer = server.com.atproto.repo.list_records(asked)
            except Exception as error:
                if _status(error) in (400, 404):
                    raise CollectError(f"The server of {self._account} has no likes of it: check the handle.") from None
                raise self._told(error, f"The server of {self._account}") from error
            if answer.records:
                yield answer.records[:left]
            left -= len(answer.records)
            if not answer.records or answer.cursor in (None, "", after):
                return
            after = answer.cursor

    def _posts(self, atproto: SimpleNamespace, view: Any, uris: list[str]) -> dict[str, Any]:
        """What is still there; None for a post that the library does not understand."""
        try:
            return {post.uri: post for post in view.app.bsky.feed.get_posts({"uris": uris}).posts}
        except atproto.ModelError:  # one such post spoils the whole answer, so they are asked for apart
            if len(uris) == 1:
                return {uris[0]: None}
            half = len(uris) // 2
            return self._posts(atproto, view, uris[:half]) | self._posts(atproto, view, uris[half:])
        except Exception as error:
            raise self._told(error, "Bluesky") from error

    def _told(self, error: Exception, who: str) -> CollectError:
        """What went wrong, in one sentence."""
        so_far = f"After {self._tally.kept} items: " if self._tally.kept else ""
        if isinstance(error, CollectError):  # of our own client
            return type(error)(f"{so_far}{error}")
        status = _status(error)
        if status == 429:
            wait = getattr(error, "retry_after", None)
            when = f"in {wait:.0f} seconds" if wait is not None else "in five minutes"
            return CollectError(f"{so_far}{who} is asked too much: try again {when}.")
        what = f"answered with status {status}" if status else "gave an answer that cannot be read"
        return CollectError(f"{so_far}{who} {what}: try again later.")


class _Through(httpx.BaseTransport):
    """Gives what atproto asks to our own client, which bounds the answer and dials public addresses only."""

    def __init__(self, web: Web) -> None:
        self._web = web

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._web.get(str(request.url))
        told = {name: value for name, value in answer.headers.items() if name in ("content-type", "retry-after")}
        return httpx.Response(answer.status, headers=told, content=answer.body)  # of a body that is unpacked already


def account_of(said: str) -> str:
    """The handle or DID in what somebody typed or copied. Raises CollectError if there is none."""
    name = clean_text(said)
    if found := re.search(r"//(?:[a-z.]*\.)?bsky\.app/profile/([^/?#]+)", name):
        name = found[1]
    name = name.removeprefix("at://").removeprefix("@")
    if _DID.fullmatch(name):
        return name
    if len(name) <= 253 and _HANDLE.fullmatch(name.lower()):
        return name.lower()
    raise CollectError(f"{said[:100]!r} is no Bluesky account: give a handle such as ann.bsky.social.")


def _library() -> SimpleNamespace:
    """Imported when Bluesky is asked, so that nobody else needs the library."""
    try:
        from atproto_client import Client
        from atproto_client.exceptions import ModelError
        from atproto_client.request import Request
        from atproto_core.did_doc import DidDocument
    except ImportError:
        raise CollectError("Bluesky needs atproto: pip install -r requirements-sources.txt.") from None
    return SimpleNamespace(Client=Client, DidDocument=DidDocument, ModelError=ModelError, Request=Request)


def _status(error: Exception) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def _reading(uri: str, liked_at: Any, posts: dict[str, Any]) -> Reading:
    if uri not in posts:
        return "deleted"
    record = getattr(posts[uri], "record", None)
    if record is None:
        return "post not understood"
    text = getattr(record, "text", None)
    if not isinstance(text, str) or not (text := clean_text(text)):
        return "no text"
    found = _POST.fullmatch(uri)
    assert found
    author, key = found.groups()
    item = Item(
        "bluesky",
        uri,
        "post",
        text,
        author_hash=pseudonym("bluesky", author),
        created_at=_when(getattr(record, "created_at", None)),
        url=f"https://bsky.app/profile/{author}/post/{key}",
    )
    return item, Signal(item.id, 1, at=_when(liked_at), origin="bluesky:likes")


def _when(said: Any) -> datetime | None:
    return parse_date(said) if isinstance(said, str) else None
