"""A stand-in for the Anthropic API on this machine: it counts what the real library sends, and answers as told."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TASTE: dict[str, Any] = {
    "topics": [{"label": "socks", "evidence": ["L1", "L2"]}],
    "devices": ["deadpan"],
    "tone": "dry",
    "dislikes": [],
    "taboo": [],
}


def message(said: object = TASTE, stop_reason: str = "end_turn") -> dict[str, Any]:
    """The body of a whole answer; `said` becomes its text, as JSON unless it is a text already."""
    text = said if isinstance(said, str) else json.dumps(said)
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "a-model",
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def fault(kind: str = "api_error", said: str = "no") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": said}}


@dataclass
class Loopback:
    """`reply` gives status and body of the n-th request, counted from 0; it may wait before it does."""

    reply: Callable[[int], tuple[int, object]] = lambda n: (200, message())
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)  # the headers that came
    released: threading.Event = field(default_factory=threading.Event)  # set at the end: for replies that wait
    url: str = ""

    def told(self, n: int = -1) -> dict[str, Any]:
        """What the n-th request told of a person."""
        held: dict[str, Any] = json.loads(self.requests[n]["messages"][0]["content"])
        return held


@contextmanager
def serving() -> Iterator[Loopback]:
    heard = Loopback()
    counting = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with counting:
                n = len(heard.requests)
                heard.requests.append(body)
                heard.seen.append({name.lower(): value for name, value in self.headers.items()})
            status, said = heard.reply(n)
            content = said.encode() if isinstance(said, str) else json.dumps(said).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                for name, value in heard.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # the client went away, as it does at its time-out
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        heard.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield heard
        heard.released.set()
        server.shutdown()
