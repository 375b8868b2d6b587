"""Who is calling: a random cookie that only the server reads, so that a vote can be told to be one's own."""

import functools
import hashlib
import html
import re
import secrets
import time
from collections.abc import Callable, Iterator
from http.cookies import SimpleCookie
from typing import Any

import gradio as gr
from gradio.events import api
from pydantic import ConfigDict, ValidationError, validate_call
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studies.house import House
from studies.session import TROUBLE, Studio
from studies.store import Refused

COOKIE = "palate_visitor"
MAX_TYPED = 20_000  # characters of one text that a page sends
TOO_LONG = f"that is too long, nothing was stored: keep it under {MAX_TYPED:,} characters"
NOT_OURS = "what was sent is not what this page sends, nothing was stored: reload the page and try again"
TOKEN = re.compile(r"[0-9a-f]{32}")


class VisitorCookie:
    """Gives every page that comes without one a visitor cookie: 128 random bits, not readable by scripts.

    A page that is `framed` by another site, as a Space is, gets one for that frame alone.
    """

    def __init__(self, app: ASGIApp, framed: bool = False) -> None:
        self.app, self.scope = app, "SameSite=None; Secure; Partitioned" if framed else "SameSite=Lax"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/" or token_of(scope):
            return await self.app(scope, receive, send)

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                year = 365 * 24 * 3600
                cookie = f"{COOKIE}={secrets.token_hex(16)}; Path=/; Max-Age={year}; HttpOnly; {self.scope}"
                message["headers"] = [*message["headers"], (b"set-cookie", cookie.encode())]
            await send(message)

        await self.app(scope, receive, send_with_cookie)


def parts(scope: Scope) -> list[str]:
    """Every part of the path: the router takes slashes, and a line break at the end, that are not in its pattern."""
    return [part.strip() for part in scope["path"].split("/")]


def token_of(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"cookie" and (morsel := SimpleCookie(value.decode("latin-1")).get(COOKIE)):
            return morsel.value if TOKEN.fullmatch(morsel.value) else None
    return None


def account_of(scope: Scope) -> str:
    """The session of an account that signed in at Hugging Face, "" for nobody's. It stands in a cookie that only this
    server can sign; its hash is all that is kept."""
    told = scope.get("session", {}).get("oauth_info") or {}
    there = told.get("expires_at", 0) > time.time()
    return f"account-{hashlib.sha256(told['userinfo']['sub'].encode()).hexdigest()[:32]}" if there else ""


def session_of(request: Request) -> str:
    """The session of whoever asks for an address of ours; raises Refused where nobody says who they are."""
    session = account_of(request.scope) or token_of(request.scope)
    if not session:
        raise Refused("this browser sent no cookie of Palate's: open the page first, and allow its cookie")
    return session


def cookie_of(request: gr.Request) -> str:
    """The caller's session; a client without cookies is known by its Gradio session."""
    cookie = str(dict(request.cookies).get(COOKIE, ""))
    return cookie if TOKEN.fullmatch(cookie) else f"client-{request.session_hash}"


def at(house: House, request: gr.Request) -> tuple[Studio, str]:
    """The caller's room, and their session in it: wherever an account signed in, or else in this browser."""
    session = account_of(getattr(request.request, "scope", {})) or cookie_of(request)
    return house.room(session, request.client.host if request.client else ""), session


def back_from_reddit(house: House) -> Callable[[Request], HTMLResponse]:
    """Where Reddit sends the browser after it asked the person: the answer counts for the session that began."""

    def signed_in(request: Request) -> HTMLResponse:
        state, code = (request.query_params.get(name, "") for name in ("state", "code"))
        try:
            session = session_of(request)
            house.room(session).reddit.finish(session, state, code)
        except TROUBLE as error:
            return HTMLResponse(f"<p>{html.escape(str(error))}</p><p><a href='/'>Back to Palate</a></p>", 400)
        return HTMLResponse("<p>Signed in. Close this tab and press Look on the Import page.</p>")

    return signed_in


def refusal(words: str) -> gr.Error:
    """What the page shows, and the log does not."""
    return gr.Error(words, title="Not done", duration=6, print_exception=False)


def in_words(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Trouble that a verb tells of becomes the message that the page shows; anything else is a defect and stays one.

    What comes in must be what the handler's annotations say: it may be sent by anything, not only by the page.
    """
    checked = validate_call(config=ConfigDict(strict=True, arbitrary_types_allowed=True, str_max_length=MAX_TYPED))(
        handler
    )

    @functools.wraps(handler)
    def wrapped(*args: Any) -> Any:
        try:
            return checked(*args)
        except ValidationError as error:
            long = any(each["type"] == "string_too_long" for each in error.errors())
            raise refusal(TOO_LONG if long else NOT_OURS) from error
        except TROUBLE as error:
            raise refusal(str(error)) from error

    return wrapped


def each_in_words(handler: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """The same for a handler that yields: its trouble may come at any step."""

    @functools.wraps(handler)
    def wrapped(*args: Any) -> Iterator[Any]:
        try:
            yield from handler(*args)
        except TROUBLE as error:
            raise refusal(str(error)) from error

    return wrapped


def offer(*handlers: Callable[..., Any], public: bool = False, **queued: Any) -> None:
    """Let the page's own scripts call verbs by their names, and with `public` programs as well. They wait in no queue,
    unless `queued` says in which."""
    visibility: Any = "public" if public else "private"
    for handler in handlers:
        name = handler.__name__
        api(in_words(handler), api_name=name, api_visibility=visibility, **queued or {"queue": False})
