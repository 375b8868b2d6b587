"""Whose room a page opens: at home that of the one who lives there; hosted, one for each visitor, with one model."""

import hashlib
import os
import shutil
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from huggingface_hub import HfApi

from collectors.item import ImportReport
from engine.backbone import let_go
from engine.plan import Quantize
from engine.recommend.scorers import NEAREST
from engine.weights import EMBEDDED, WeightsError
from studies import settings
from studies.afar import Copies, fetch
from studies.database import StoreError, address, exists, forget_unused
from studies.importing import UPLOADS, sweep
from studies.ledger import Ledger
from studies.limits import Limit
from studies.models import Models, check_room
from studies.outcome import Outcome, outcome
from studies.ratings import Ballot
from studies.session import CHANGING, CannotStart, Engine, Studio, engine_line
from studies.settings import Settings
from studies.store import Refused, Store
from studies.turns import Turns
from studies.wish import ANYTHING

MOST = 64  # rooms open at a time
IDLE = 15 * 60.0  # seconds after which a room that nobody uses is closed; what is in it stays
KEPT = 30 * 24 * 3600.0  # seconds after which a visitor who did not come back is forgotten
VISITORS = "visitors"
SCHEMA = "visitor_"  # and the name of the folder
PUT_DOWN = 60.0  # seconds that a change of the model waits for whoever is using the one before


class House(ABC):
    """`hosted` says whether strangers come: then nobody sees another's room, and none may wear the machine out."""

    hosted: bool
    models: Models | None = None  # at home, where the model runs in this process; elsewhere its owner chose
    notice: str = ""  # what went otherwise than it was chosen, in words

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
    def ballots(self, *, pictures: bool = False) -> list[Ballot]:
        """Every vote that counts, of everybody, on texts or on pictures."""

    @abstractmethod
    def outcome(self, *, pictures: bool = False) -> Outcome:
        """What came of the votes of everybody, on texts or on pictures."""

    @property
    @abstractmethod
    def paints(self) -> bool:
        """Whether pictures are offered."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where everything personal lies."""

    @abstractmethod
    def engine_line(self) -> str:
        """Which model writes, and how it runs."""


class Home(House):
    """One room: every page that is opened here belongs to the same person, who may change the model that writes.

    `base` and `rank` are as in `Engine.load`, for the models to come; `chosen` is what writes now.
    """

    hosted = False

    def __init__(
        self,
        studio: Studio,
        chosen: Settings = Settings(),  # noqa: B008 - it is frozen
        *,
        seed: int = 0,
        base: bool = True,
        rank: str = NEAREST,
        notice: str = "",
        served: bool = False,
    ) -> None:
        self._studio: Studio | None = studio
        self._store, self._claude, self._painter, self._started = studio.store, studio.claude, studio.painter, False
        self._seed, self._base, self._rank, self._wish = seed, base, rank, ANYTHING
        self.chosen, self.notice = chosen, notice
        self.models = None if served else Models(self)

    @property
    def studio(self) -> Studio:
        """The room; raises Refused while one model is put down and the next is not there yet."""
        if self._studio is None:
            raise Refused(CHANGING)
        return self._studio

    def room(self, session: str, address: str = "") -> Studio:
        studio = self.studio
        studio.enter(session)
        return studio

    def import_table(self, path: Path, columns: Sequence[str]) -> ImportReport:
        return self.studio.import_table(path, columns)

    def start(self) -> None:
        self._started = True
        self.studio.start()

    def close(self) -> None:
        if self._studio:
            self._studio.close()

    def last(self) -> None:
        pass  # a vote is where it is kept once it is acknowledged

    def ballots(self, *, pictures: bool = False) -> list[Ballot]:
        return self.studio.store.ballots(pictures=pictures)

    def outcome(self, *, pictures: bool = False) -> Outcome:
        return outcome(self.ballots(pictures=pictures))

    @property
    def paints(self) -> bool:
        return self._painter is not None

    @property
    def folder(self) -> Path:
        return self._store.db.folder.resolve()

    def engine_line(self) -> str:
        return self.studio.engine_line()

    # ---- another model in the same room: what lies on the table, votes, likes and fits stay

    def change(self, model: str | None, quantize: Quantize, beside: bool) -> None:
        """Let this model write from now on. `beside` says that it may be loaded while the one before is still there;
        otherwise that one is put down first, and comes back where the new one cannot be loaded. Raises CannotStart with
        the reason, Refused while something is taught or imported.
        """
        if self.studio.imports.under_way() or not self.studio.teacher.hold():
            raise Refused("an import or a fit is under way: stop it or wait, then change the model")
        if beside:
            self._load_beside(model, quantize)
        else:
            self._load_instead(model, quantize)
        self.chosen, self.notice = replace(self.chosen, model=model, quantize=quantize), ""

    def _load_beside(self, model: str | None, quantize: Quantize) -> None:
        before = self.studio
        try:
            engine = self._engine(model, quantize)
        except BaseException:
            before.teacher.let_go()
            raise
        while before.imports.under_way():  # it began meanwhile
            time.sleep(0.1)
        before.close()
        self._wish = before.worker.wish
        self._open(engine)

    def _load_instead(self, model: str | None, quantize: Quantize) -> None:
        self._put_down()
        why = ""
        try:
            engine = self._engine(model, quantize)
        except Exception as error:
            why = str(error)  # and no more of it: its frames hold what was loaded so far
        if why:
            let_go()
            self._go_back()
            raise CannotStart(f"{self.studio.lm.name} goes on: {why}")
        self._open(engine)

    def _put_down(self) -> None:
        """Close the room and wait until nobody holds its model. Raises Refused, the room open again, where one does."""
        studio, self._studio = self.studio, None
        studio.close()
        self._wish = studio.worker.wish
        lm, model = weakref.ref(studio.lm), weakref.ref(studio.lm.model)
        del studio
        deadline = time.monotonic() + PUT_DOWN
        while model():
            let_go()
            if time.monotonic() > deadline:
                if there := lm():
                    self._open(Engine.around(there, self.folder, self._claude, self._rank))
                else:
                    self._go_back()
                raise Refused("the model that writes is needed right now: try again in a moment")
            time.sleep(0.05)

    def _go_back(self) -> None:
        """Load what wrote before or, where even that fails, the embedded model."""
        for there in (self.chosen, replace(self.chosen, model=None, quantize="auto")):
            try:
                self._open(self._engine(there.model, there.quantize))
                self.chosen = there
                return
            except CannotStart:
                continue
        raise CannotStart("no model can be loaded any more: start Palate again; what was stored is safe")

    def _engine(self, model: str | None, quantize: Quantize) -> Engine:
        return Engine.writing(self.folder, model, quantize, self._claude, self._base, self._rank)

    def _open(self, engine: Engine) -> None:
        studio = Studio(self._store, engine.lm, self._seed, engine.claude, engine.ranks, painter=self._painter)
        studio.worker.wish = self._wish
        if self._started:
            studio.start()
        self._studio = studio


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
        studio = Studio(store, *lent, partial(self.ledger.write, name), uploads, True, self.engine.painter)
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

    def ballots(self, *, pictures: bool = False) -> list[Ballot]:
        return self.ledger.ballots(pictures=pictures)

    def outcome(self, *, pictures: bool = False) -> Outcome:
        return self.ledger.outcome(pictures=pictures)

    @property
    def paints(self) -> bool:
        return self.engine.painter is not None

    @property
    def folder(self) -> Path:
        return self._folder

    def engine_line(self) -> str:
        return engine_line(self.engine.lm, self.engine.painter)


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
        return _open_home(data_dir, seed, database_url=database_url, **engine)
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


def _open_home(data_dir: Path, seed: int, model: str | None = None, quantize: Quantize = "auto", **engine: Any) -> Home:
    """With the model that was chosen last, unless one is named now; with the embedded one where that cannot be had."""
    if engine.get("runs", "process") != "process":  # a server has its model
        return Home(Studio.open(data_dir, seed=seed, model=model, quantize=quantize, **engine), served=True)
    kept = settings.read(data_dir)
    chosen, notice = Settings(model, quantize), ""
    more = {"seed": seed, "base": engine.get("base", True), "rank": engine.get("rank", NEAREST)}
    if model is None and kept.model is not None:
        chosen = Settings(kept.model, kept.quantize if quantize == "auto" else quantize)
        try:
            check_room(chosen.model, chosen.quantize)
            studio = Studio.open(data_dir, seed=seed, model=chosen.model, quantize=chosen.quantize, **engine)
            return Home(studio, chosen, **more)
        except (CannotStart, Refused, WeightsError) as error:
            chosen = Settings(None, quantize)
            notice = f"The model chosen last is not used: {str(error).rstrip('.')}. {EMBEDDED} writes instead."
    studio = Studio.open(data_dir, seed=seed, model=chosen.model, quantize=chosen.quantize, **engine)
    return Home(studio, chosen, notice=notice, **more)
