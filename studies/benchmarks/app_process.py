"""The app as a child process, driven over HTTP as a browser drives it."""

import http.cookiejar
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
READY = re.compile(r"ready at (http://\S+?)/? after")
ENGINE = re.compile(r"^.*; likes are seen by .*$", re.MULTILINE)


class AppDied(RuntimeError):
    """The app ended before it was ready; the message is what it printed."""


class AppProcess:
    """`python app.py` on a free port, ready when the constructor returns. Leave with `end()` or `kill()`.

    `environment` variables are added to those of this process.
    """

    def __init__(self, data_dir: Path, *flags: str, environment: Mapping[str, str] | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._folder = tempfile.TemporaryDirectory()
        self._log = Path(self._folder.name) / "log"
        command = [sys.executable, "app.py", "--port", str(port), "--data-dir", str(data_dir), *flags]
        started = time.perf_counter()
        with self._log.open("w") as log:
            there = {**os.environ, **(environment or {})}
            self.process = subprocess.Popen(command, cwd=ROOT, env=there, stdout=log, stderr=subprocess.STDOUT)
        while not (found := READY.search(self.said())):
            if self.process.poll() is not None:
                raise AppDied(self.said())
            time.sleep(0.02)
        self.start_seconds = time.perf_counter() - started
        self.url = found[1]
        self.visitor()

    def said(self) -> str:
        """What the app has printed so far."""
        return self._log.read_text(errors="replace")

    def engine(self) -> str:
        """The line by which the app told which model it runs, and how."""
        return str(ENGINE.findall(self.said())[0])

    def visitor(self) -> None:
        """Come as a new visitor: another cookie, another session."""
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)
        self._opener.open(self.url, timeout=30).read()

    def call(self, name: str, *data: Any) -> list[Any]:
        """Call an API by its name; raises RuntimeError with the app's words when it refuses."""
        body = json.dumps({"data": data}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/gradio_api/run/{name}", body, headers)
        try:
            reply = self._opener.open(request, timeout=120).read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from error
        return list(json.loads(reply)["data"])

    def memory_gb(self) -> float:
        """The most memory the process has held so far, in 1e9 bytes (Linux: VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024 / 1e9

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """End it as Ctrl+C does."""
        self.process.terminate()
        self.process.wait(timeout=60)
