"""What may come in at all. A call with half a character (a lone surrogate, which JSON can say and UTF-8 cannot) would
be repeated in Gradio's own words, and its stream of events would end there without a word: that page would wait for
ever. A call without end would be read into memory."""

import json

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.visitor import NOT_OURS, parts

LONGEST = 16_000_000  # bytes of one call; files come another way
TOO_MUCH = f"that is too long, nothing was stored: keep what is sent at once under {LONGEST // 10**6} MB"


class Sayable:
    """Refuses such calls in words."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or "upload" in parts(scope):
            return await self.app(scope, receive, send)
        come, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return  # it went away
            come += message.get("body", b"")
            more = message.get("more_body", False)
            if len(come) > LONGEST:
                return await JSONResponse({"error": TOO_MUCH}, 413)(scope, receive, send)
        body = bytes(come)
        if not sayable(body):
            return await JSONResponse({"error": NOT_OURS}, 400)(scope, receive, send)
        told = False

        async def again() -> Message:
            nonlocal told
            if told:
                return await receive()
            told = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)


def sayable(body: bytes) -> bool:
    """Whether all of a call's text is UTF-8 and can be said again as such; what is no JSON is for others to refuse."""
    if b"\0" in body:  # UTF-16 and UTF-32, which Python reads as JSON as well
        return False
    try:
        text = body.decode()
        if "\\ud" in text.lower():
            json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeError:
        return False
    except (ValueError, RecursionError):
        pass
    return True
