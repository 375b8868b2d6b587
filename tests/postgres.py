"""A PostgreSQL of our own on this machine, from Debian's packages, that tests start, stop and kill, and a door before
it that can be shut in the middle of a conversation."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from studies.store import Store

COMMIT = b"Q\0\0\0\x0bcommit\0"  # as it goes over the line: what it is, how long, the words
OWNER = "postgres" if hasattr(os, "getuid") and os.getuid() == 0 else None  # the server does not run as root


def programs() -> Path | None:
    """The folder of the newest server on this machine."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class Server:
    """Its data lie in `folder`; nothing of it is made faster at the price of durability."""

    def __init__(self, folder: Path, bin: Path) -> None:
        self.folder, self.bin, self.port = folder, bin, free_port()
        self.url = f"postgresql://palate@127.0.0.1:{self.port}/postgres"
        self._numbers = count(1)
        self._clean: list[str] = []
        if OWNER:
            shutil.chown(folder, OWNER, OWNER)
        self._run(
            "initdb", "-D", "data", "-U", "palate", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"
        ).wait()
        self.start()

    def _run(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self.bin / program, *arguments],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                user=OWNER,
                group=OWNER,
                extra_groups=[] if OWNER else None,
            )

    def start(self) -> None:
        listening = ("-D", "data", "-p", str(self.port), "-h", "127.0.0.1", "-k", "")
        self.process = self._run("postgres", *listening)
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, "it does not start"
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """As an administrator does it: who is connected is told."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)

    def kill(self) -> None:
        """kill -9 of all its processes; the first one first, or it would start the others again."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        self.process.wait(60)
        psutil.wait_procs(children, 60)

    def ask(self, statement: str, url: str = "") -> list[Any]:
        with psycopg.connect(url or self.url, autocommit=True) as link:
            done = link.execute(statement)
            return done.fetchall() if done.description else []

    def database(self, options: str = "") -> str:
        """The address of a new database."""
        name = f"test_{next(self._numbers)}"
        self.ask(f"create database {name} {options}")
        return self.url.removesuffix("postgres") + name

    @contextmanager
    def stores(self) -> Iterator[Callable[[Path], tuple[Store, str]]]:
        """Opens stores, each folder's in a database of its own that is empty at first; with the address of that."""
        taken: dict[Path, str] = {}

        def opened(folder: Path) -> tuple[Store, str]:
            if folder not in taken:
                taken[folder] = self._clean.pop() if self._clean else self.database()
            return Store(folder, taken[folder]), taken[folder]

        yield opened
        for folder, url in taken.items():  # much quicker than to make the tables again
            tables = "".join(f'; delete from "{table}"' for table in opened(folder)[0].tables())
            self.ask(f"begin; set search_path = palate; set constraints all deferred{tables}; commit", url)
            self._clean.append(url)


@contextmanager
def serving() -> Iterator[Server]:
    """A server until the end; skips where there is none on this machine."""
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL on this machine: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="palate-postgres-"))
    try:
        server = Server(folder, found)
        yield server
        if server.process.poll() is None:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Door:
    """Stands before a server on a port of its own. Shut on a commit it lets that through, or not, and shuts:
    nobody hears the answer, and nobody comes in until it is `open` again."""

    def __init__(self, port: int, url: str) -> None:
        self.port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(str(port), str(self._listening.getsockname()[1]))
        self._waiting, self._through = False, True
        self._lines: list[socket.socket] = []
        self.open = True
        threading.Thread(target=self._serve, daemon=True).start()

    def shut_on_commit(self, through: bool) -> None:
        self._waiting, self._through = True, through

    def shut(self, but: tuple[socket.socket, ...] = ()) -> None:
        """Now, on everybody."""
        self.open = False
        for line in self._lines:
            with suppress(OSError):
                if line in but:
                    continue
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listening.accept()
                if not self.open:
                    here.close()
                    continue
                there = socket.create_connection(("127.0.0.1", self.port))
                self._lines += [here, there]
                for one, other in ((here, there), (there, here)):
                    threading.Thread(target=self._pass_on, args=(one, other, one is here), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket, asks: bool) -> None:
        with suppress(OSError):
            while told := one.recv(65_536):
                if asks and self._waiting and COMMIT in told:
                    self._waiting = False
                    self.shut(but=(one, other))
                    one.shutdown(socket.SHUT_RDWR)  # first, or the answer would be heard
                    if self._through:
                        other.sendall(told)
                    break
                other.sendall(told)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
