"""A stand-in for the model hub on this machine: as much of its HTTP as the hub's own client asks for."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "c" * 40


@dataclass
class Hub:
    """`folder` is what `someone/model` holds. `gated`: it wants a token. `breaks`: bytes after which the next GETs of
    a large file break off. `delay`: seconds between two blocks of it."""

    folder: Path
    gated: bool = False
    breaks: list[int] = field(default_factory=list)
    block: int = 1 << 16
    delay: float = 0.0
    ranges: list[tuple[str, str]] = field(default_factory=list)  # (file, Range) of every GET of a file
    url: str = ""
    name: str = "someone/model"


@cache
def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def serving(folder: Path) -> Iterator[Hub]:
    hub = Hub(folder)
    waiting = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._file(body=False)

        def do_GET(self) -> None:
            if self.path.startswith(f"/api/models/{hub.name}/tree/"):
                self._json([self._entry(path) for path in sorted(hub.folder.iterdir())])
            elif self.path.startswith(f"/api/models/{hub.name}"):
                self._json({"id": hub.name, "sha": COMMIT, "siblings": [], "private": False, "gated": hub.gated})
            else:
                self._file(body=True)

        def _entry(self, path: Path) -> dict[str, Any]:
            oid = digest(path)
            told: dict[str, Any] = {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": oid[:40]}
            if path.suffix == ".safetensors":
                told["lfs"] = {"oid": oid, "size": told["size"], "pointerSize": 130}
            return told

        def _json(self, said: Any) -> None:
            content = json.dumps(said).encode()
            self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(content))})
            self.wfile.write(content)

        def _head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def _file(self, body: bool) -> None:
            found = re.fullmatch(rf"/{hub.name}/resolve/\w+/([\w.-]+)", self.path)
            path = hub.folder / found[1] if found else None
            if path is None or not path.is_file():
                return self._head(404, {"X-Error-Code": "RepoNotFound", "Content-Length": "0"})
            if hub.gated and "Authorization" not in self.headers:
                return self._head(401, {"X-Error-Code": "GatedRepo", "Content-Length": "0"})
            content = path.read_bytes()
            etag = self._entry(path).get("lfs", {}).get("oid") or self._entry(path)["oid"]
            told = self.headers.get("Range", "")
            start = int(re.sub(r"\D", "", told) or 0)
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Content-Length": str(len(content) - start)}
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._head(206 if told else 200, headers)
            if not body:
                return None
            hub.ranges.append((path.name, told))
            most = hub.breaks.pop(0) if hub.breaks and path.suffix == ".safetensors" else len(content)
            try:
                for at in range(start, min(len(content), start + most), hub.block):
                    self.wfile.write(content[at : min(at + hub.block, start + most)])
                    if hub.delay and path.suffix == ".safetensors":
                        waiting.wait(hub.delay)
            except OSError:  # the client went away
                pass
            self.close_connection = True
            return None

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield hub
        waiting.set()
        server.shutdown()
