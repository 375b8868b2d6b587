"""A stand-in for a web service on 127.0.0.1, to test the real client libraries against.

    def answer(method, path, query, headers, body):
        return as_json({"ok": True})          # or (status, headers, bytes), or "hang", or "cut"

    with standing_in(answer) as service:
        service.url                            # "http://127.0.0.1:PORT", without a slash at its end
        service.calls                          # [("GET", "/path"), ...], in the order they came

`query` holds a list of values for each name (blank ones too), `headers` are by lower-case name. "hang" gives no answer
before the end of the test, "cut" promises more bytes than it sends. What `answer` raises becomes a status 599 and is
raised again at the end of the `with`, so that a failed assert in it is not lost.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import parse_qs, urlsplit

Query = dict[str, list[str]]
Headers = dict[str, str]
Reply = tuple[int, Headers, bytes] | Literal["hang", "cut"]
Answer = Callable[[str, str, Query, Headers, bytes], Reply]


def as_json(value: object, status: int = 200, headers: Headers | None = None) -> tuple[int, Headers, bytes]:
    return status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(value).encode()


@dataclass
class StandIn:
    url: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)  # method and path
    failures: list[BaseException] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)  # ends what hangs

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(called == path for _, called in self.calls)


@contextmanager
def standing_in(answer: Answer) -> Iterator[StandIn]:
    service = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            service.calls.append((self.command, parts.path))
            try:
                query = parse_qs(parts.query, keep_blank_values=True)
                reply = answer(self.command, parts.path, query, headers, body)
            except BaseException as failure:
                service.failures.append(failure)
                reply = (599, {}, b"")
            with suppress(OSError):  # the client went away, as it does at its time-out
                self._send(reply)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve

        def _send(self, reply: Reply) -> None:
            if reply == "hang":
                service.released.wait(60)
                self.close_connection = True
                return
            status, headers, content = (200, {"Content-Length": "1000"}, b"{") if reply == "cut" else reply
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        service.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield service
        finally:
            service.released.set()
            server.shutdown()
    if service.failures:
        raise service.failures[0]
