"""Files between visitors and this machine: what one brought is read for nobody else, what is made for one is handed to
nobody else. Gradio's own routes serve and take any file in the upload folder from whoever names its path."""

import json
from collections.abc import Callable
from pathlib import Path

import gradio as gr
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.visitor import COOKIE, parts, session_of, token_of
from studies.house import House
from studies.pictures import PNG
from studies.session import TROUBLE
from studies.store import Refused

MINE = "mine"  # the route of a visitor's own zips and pictures, relative to the page
KNOWN = 10_000  # uploads whose visitor is remembered; the oldest go first
_brought: dict[str, set[str]] = {}  # path -> cookies of those who uploaded it: gradio names a path after the content


class Uploads:
    """Remembers who brought what; who has no cookie brings nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or "upload" not in parts(scope):
            return await self.app(scope, receive, send)
        visitor = token_of(scope)
        if not visitor:
            return await PlainTextResponse("reload the page, then bring the file", 403)(scope, receive, send)
        said = b""

        async def remember(message: Message) -> None:
            nonlocal said
            if message["type"] == "http.response.body":
                said += message.get("body", b"")
                if not message.get("more_body"):
                    _remember(said, visitor)
            await send(message)

        await self.app(scope, receive, remember)


class NoFiles:
    """Shuts the route by which gradio serves any file in its folders to anybody."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and any(part == "file" or part.startswith("file=") for part in parts(scope)):
            return await PlainTextResponse("no file is served here", 403)(scope, receive, send)
        await self.app(scope, receive, send)


class NoUploads:
    """Shuts the door for files, where nobody is asked for one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "upload" in parts(scope):
            return await PlainTextResponse("nothing is uploaded here", 403)(scope, receive, send)
        await self.app(scope, receive, send)


def _remember(said: bytes, visitor: str) -> None:
    try:
        paths = json.loads(said)
    except ValueError:  # it was refused, in words
        return
    for path in paths if isinstance(paths, list) else []:
        _brought.setdefault(str(path), set()).add(visitor)
    while len(_brought) > KNOWN:
        del _brought[next(iter(_brought))]


def brought(request: gr.Request, path: str) -> Path:
    """A file that this visitor uploaded. Raises Refused for any other: an event may name whatever path it likes."""
    if str(dict(request.cookies).get(COOKIE, "")) not in _brought.get(path, ()):
        raise Refused("that file was not brought by you: choose it again")
    return Path(path)


def mine(house: House) -> Callable[[Request], Response]:
    """Hands out a zip that a visitor had made of what is theirs, or a picture that they were shown, to them. With a
    picture goes nothing but what is on it, no date and no name."""
    private = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}

    def serve(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            session = session_of(request)
            own = house.room(session).own
            if name.endswith(PNG):
                return Response(own.picture(session, name).read_bytes(), media_type="image/png", headers=private)
            path = own.exported(session, name)
        except TROUBLE as error:
            return PlainTextResponse(str(error), 404)
        except FileNotFoundError:
            return PlainTextResponse("that picture is not there any more", 404)
        return FileResponse(path, filename=path.name, headers=private)

    return serve
