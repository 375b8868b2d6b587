"""A stand-in for the Hugging Face hub on this machine: one dataset, as far as its own library asks for it here."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

SHA = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """`files` is what the dataset holds; while `down` every request is refused."""

    url: str = ""
    private: bool = True
    down: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    commits: int = 0
    squashed: int = 0
    tokens: set[str] = field(default_factory=set)


@contextmanager
def hub() -> Iterator[Hub]:
    held = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            held.tokens.add(self.headers.get("Authorization", ""))
            path = unquote(urlparse(self.path).path)
            if held.down:
                return self.say({"error": "not today"}, 403)  # of a 500 the library would try again for half a minute
            if path == "/api/repos/create":
                held.created.append(json.loads(body))
                return self.say({"url": f"{held.url}/datasets/me/votes", "id": "me/votes"})
            if "/preupload/" in path:
                asked = json.loads(body)["files"]
                return self.say(
                    {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]}
                )
            if "/commit/" in path:
                for line in body.splitlines():
                    told = json.loads(line)
                    if told["key"] == "file":
                        held.files[told["value"]["path"]] = base64.b64decode(told["value"]["content"])
                held.commits += 1
                url = f"{held.url}/datasets/me/votes/commit/{SHA}"
                return self.say({"success": True, "commitOid": SHA, "commitUrl": url, "hookOutput": ""})
            if "/super-squash/" in path:
                held.squashed += 1
                return self.say({"sha": SHA})
            if "/resolve/" in path:
                return self.say(held.files[path.rsplit("/", 1)[1]])
            if "/tree/" in path:
                rows = [{"type": "file", "path": p, "size": len(b), "oid": SHA} for p, b in held.files.items()]
                return self.say(rows)
            names = [{"rfilename": name} for name in held.files]
            return self.say({"id": "me/votes", "sha": SHA, "private": held.private, "siblings": names, "tags": []})

        do_GET = do_POST = do_HEAD = answer

        def say(self, told: Any, status: int = 200) -> None:
            raw = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.send_header("ETag", f'"{hashlib.sha1(raw).hexdigest()}"')
            self.send_header("X-Repo-Commit", SHA)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(raw)

        def log_message(self, *told: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
