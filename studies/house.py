"""Whose room a page opens: at home that of the one who lives there; hosted, one for each visitor, with one model."""

import hashlib
import os
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from huggingface_hub import HfApi

from collectors.item import ImportReport
from engine import encoder
from studies.afar import Copies, fetch
from studies.database import StoreError, address, exists, forget_unused
from studies.importing import UPLOADS, sweep
from studies.ledger import Ledger
from studies.limits import Limit
from studies.ratings import Ballot, Rate, Standing, rates, standings
from studies.session import CannotStart, Engine, Studio
from studies.store import Refused, Store
from studies.turns import Turns

MOST = 64  # rooms open at a time
IDLE = 15 * 60.0  # seconds after which a room that nobody uses is closed; what is in it stays
KEPT = 30 * 24 * 3600.0  # seconds after which a visitor who did not come back is forgotten
VISITORS = "visitors"
SCHEMA = "visitor_"  # and the name of the folder


class House(ABC):
    """`hosted` says whether strangers come: then nobody sees another's room, and none may wear the machine out."""

    hosted: bool

    @abstractmethod
    def room(self, session: str, address: str = "") -> Studio:
        """The room of a page's session, which is known there from then on. Raises Refused where there is none."""

    def import_table(self, path: Path, columns: Sequence[str]) -> ImportReport:
        """Import what the owner named at the start. Raises CannotStart."""
        raise CannotStart("visitors bring their own likes: leave --import out")

    @abstractmethod
    def start(self) -> None:
        """Begin to write."""

    @abstractmethod
    def close(self) -> None:
        """End all that writes."""

    @abstractmethod
    def last(self) -> None:
        """Bring to where it is kept what is under way, for a process that ends without waiting for what writes."""

    @abstractmethod
    def ballots(self) -> list[Ballot]:
        """Every vote that counts, of everybody."""

    @abstractmethod
    def standings(self) -> list[Standing]:
        """Strengths by the votes of everybody."""

    @abstractmethod
    def rates(self) -> list[Rate]:
        """How often each arm was liked, disliked, taken for a machine, by the votes of everybody."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where everything personal lies."""

    @abstractmethod
    def engine_line(self) -> str:
        """Which model writes, and how it runs."""


class Home(House):
    """One room: every page that is opened here belongs to the same person."""

    hosted = False

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def room(self, session: str, address: str = "") -> Studio:
        self.studio.enter(session)
        return self.studio

    def import_table(self, path: Path, columns: Sequence[str]) -> ImportReport:
        return self.studio.import_table(path, columns)

    def start(self) -> None:
        self.studio.start()

    def close(self) -> None:
        self.studio.close()

    def last(self) -> None:
        pass  # a vote is where it is kept once it is acknowledged

    def ballots(self) -> list[Ballot]:
        return self.studio.store.ballots()

    def standings(self) -> list[Standing]:
        return standings(self.ballots())

    def rates(self) -> list[Rate]:
        return rates(self.ballots())

    @property
    def folder(self) -> Path:
        return self.studio.folder

    def engine_line(self) -> str:
        return self.studio.engine_line()


class Hosted(House):
    """A room a visitor, each with a folder of its own under `folder`: what is in one is out of reach of every other.

    The model, turns at it and what was learned from many people are common to all. With the `url` of a PostgreSQL the
    tables of each stand in a schema of its own there. With `api` the ledger of all votes is fetched from `dataset` and
    copied there; raises CannotStart.
    """

    hosted = True

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        seed: int = 0,
        most: int = MOST,
        idle: float = IDLE,
        url: str | None = None,
        dataset: str = "",
        api: HfApi | None = None,
    ) -> None:
        self._folder, self.engine, self.seed, self.url = folder.resolve(), engine, seed, url
        self.most, self.idle = most, idle
        self.turns = Turns()
        if api:
            fetch(self._folder, dataset, api)
        self.ledger = Ledger(self._folder)
        self.copies = Copies(self.ledger, dataset, api) if api else None
        self._rooms: dict[str, tuple[Studio, float]] = {}  # the longest unused first
        self._lock = threading.Lock()
        self._calls = Limit(burst=60, a_minute=240)
        self._newcomers = Limit(burst=40, a_minute=10)  # of one address: a class of students comes at once

    def room(self, session: str, address: str = "") -> Studio:
        self._calls.take(session)
        name = hashlib.sha256(session.encode()).hexdigest()[:32]
        with self._lock:
            studio = self._rooms.pop(name, (None, 0.0))[0] or self._open(name, address)
            self._rooms[name] = (studio, time.monotonic())
        self._lend_states(studio.folder)
        studio.worker.context = copy_context()
        studio.enter(session)
        return studio

    def _open(self, name: str, address: str) -> Studio:
        self._close_idle()
        if len(self._rooms) >= self.most:
            raise Refused("too many people are here right now: come back in a few minutes")
        if not (self._folder / VISITORS / name).exists():
            self._newcomers.take(address)
        store = Store(self._folder / VISITORS / name, self.url, SCHEMA + name, told="this app")
        seed = self.seed ^ int(name[:8], 16)  # everybody meets the arms in an order of their own
        uploads = self._folder / UPLOADS / name
        lent = self.engine.lm, seed, self.engine.claude, self.engine.ranks, self.turns
        studio = Studio(store, *lent, partial(self.ledger.write, name), uploads, guest=True)
        studio.start()
        return studio

    def _lend_states(self, room: Path) -> None:
        """What the owner taught on many people serves every visitor; a visitor who deleted everything gets it again."""
        taught, link = self._folder / "states" / "shared", room / "states" / "shared"
        if taught.is_dir() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(taught)

    def _close_idle(self) -> None:
        now = time.monotonic()
        for name, (studio, used) in list(self._rooms.items()):
            if now - used > self.idle:
                del self._rooms[name]
                threading.Thread(target=studio.close, daemon=True).start()  # it ends after the text that is under way

    def start(self) -> None:
        """Forget visitors who have not come for long, and what nobody fetched."""
        sweep(self._folder / UPLOADS)
        for path in (self._folder / VISITORS).glob("*"):
            if max((file.stat().st_mtime for file in path.rglob("*")), default=0.0) < time.time() - KEPT:
                shutil.rmtree(path, ignore_errors=True)
        if self.url:
            forget_unused(self.url, SCHEMA, KEPT)

    def close(self) -> None:
        with self._lock:
            for studio, _ in self._rooms.values():
                studio.close()
            self._rooms.clear()
        self.last()
        if self.copies:
            self.copies.stop()

    def last(self) -> None:
        self.copies.last() if self.copies else self.ledger.close()

    def ballots(self) -> list[Ballot]:
        return self.ledger.ballots()

    def standings(self) -> list[Standing]:
        return self.ledger.standings()

    def rates(self) -> list[Rate]:
        return self.ledger.rates()

    @property
    def folder(self) -> Path:
        return self._folder

    def engine_line(self) -> str:
        return f"{self.engine.lm.describe()}; likes are seen by {encoder.NAME}"


def only_one(folder: Path) -> FileLock:
    """Held for as long as this process serves a data folder: queue, sessions and rooms are in its memory alone.

    Raises CannotStart where another process serves it already.
    """
    lock = FileLock(folder / "serving.lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise CannotStart(
            f"{folder} is being served by another process: end that one, or give this one a --data-dir of its own"
        ) from error
    except OSError as error:
        raise CannotStart(f"{folder} cannot be used ({error.strerror}): choose a writable --data-dir") from error
    return lock


def open_house(data_dir: Path, *, hosted: bool, seed: int, database_url: str | None = None, **engine: Any) -> House:
    """Open the data folder, its tables where `Studio.open` has them, and load the models, as `Engine.load` says; raises
    CannotStart."""
    if not hosted:
        return Home(Studio.open(data_dir, seed=seed, database_url=database_url, **engine))
    url = address(database_url)
    try:
        (data_dir / VISITORS).mkdir(parents=True, exist_ok=True)
        exists(data_dir, url)  # before a model is loaded for nothing
    except OSError as error:
        raise CannotStart(f"{data_dir} cannot be used ({error.strerror}): choose a writable --data-dir") from error
    except StoreError as error:
        raise CannotStart(str(error)) from error
    loaded, dataset = Engine.load(data_dir, **engine), os.environ.get("PALATE_DATASET", "")
    return Hosted(data_dir, loaded, seed, url=url, dataset=dataset, api=HfApi() if dataset else None)
