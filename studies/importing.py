"""Imports of a room: what is in a file is shown first, and saved after a yes, chunk by chunk."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from collectors.detect import open_source
from collectors.item import CollectError, Collector, ImportReport, Item, Signal
from collectors.online import ONLINE
from studies.store import Refused, Store, new_id

SERVICES = [(online.title, name) for name, online in ONLINE.items()]  # for people, for `look`
DAY = 86_400  # seconds that an uploaded file may wait for an answer, or a zip of one's own for its download
UPLOADS = "uploads"  # the folder that the page uploads to, and that it serves what a person may download from
MAX_WAITING = 4  # previews of one session that nobody has answered; the oldest is dropped


@dataclass(frozen=True, slots=True)
class Preview:
    """What an import would bring. `ticket` names it to `save` or `cancel`; nothing is saved yet."""

    ticket: str
    name: str
    report: ImportReport


@dataclass(frozen=True, slots=True)
class Saved:
    """How far an import is: rows on disk, and of how many."""

    rows: int
    of: int


@dataclass(frozen=True, slots=True)
class Held:
    """What came over the network, so that it is asked for once."""

    pairs: list[tuple[Item, Signal | None]]
    found: ImportReport

    def __iter__(self) -> Iterator[tuple[Item, Signal | None]]:
        return iter(self.pairs)

    def report(self) -> ImportReport:
        return self.found


class Imports:
    """Looks into sources and saves them. One that is broken off keeps its whole chunks, and the same again goes on."""

    def __init__(self, store: Store, changed: Callable[[], None], uploads: Path | None = None) -> None:
        self.store, self._changed = store, changed
        self._uploads = uploads or store.db.folder / UPLOADS
        self._waiting: dict[str, tuple[str, str, Path, Collector, ImportReport]] = {}
        self._one = threading.Lock()

    def preview(self, session: str, path: Path, name: str = "", source: str = "auto") -> Preview:
        """Look into a file or folder, whatever its source; raises Refused with one sentence where it cannot be read."""
        self.store.rater(session)
        path = self._own(path)
        try:
            collector = open_source(path, source)
            for _ in collector:
                pass  # only counts are kept
        except CollectError as error:  # by the name the person knows
            drop(path)
            raise Refused(str(error).replace(str(path), name or path.name)) from error
        return self._hold(session, name or path.name, path, collector)

    def _own(self, path: Path) -> Path:
        """An upload, moved to a place of its own: what several bring lies in one, and the first to save would take it
        from the others."""
        if UPLOADS not in path.parts:
            return path
        try:
            mine = self._uploads / new_id()
            mine.mkdir(parents=True)
            moved = path.rename(mine / path.name)
        except OSError as error:
            raise Refused(f"the file cannot be read ({error.strerror}): choose it again") from error
        with suppress(OSError):
            path.parent.rmdir()
        return moved

    def _hold(self, session: str, name: str, path: Path, collector: Collector) -> Preview:
        mine = [ticket for ticket, held in list(self._waiting.items()) if held[0] == session]
        for old in mine[: max(0, len(mine) + 1 - MAX_WAITING)]:
            if held := self._waiting.pop(old, None):
                drop(held[2])
        ticket, report = new_id(), collector.report()
        self._waiting[ticket] = (session, name, path, collector, report)
        return Preview(ticket, name, report)

    def look(self, session: str, name: str, source: str, address: str, token: str = "") -> Preview:
        """Look into a source on the network: a feed, or likes by a handle. All of it is held until it is answered for.

        Raises Refused with one sentence where it cannot be read.
        """
        self.store.rater(session)
        if source not in ONLINE or not address.strip():
            raise Refused("choose a source and give its address first")
        try:
            collector = ONLINE[source].open(address.strip(), token.strip())
        except CollectError as error:
            raise Refused(str(error)) from error
        return self.look_into(session, name, collector)

    def look_into(self, session: str, name: str, collector: Collector) -> Preview:
        """The same for a source that is open already."""
        try:
            pairs = list(collector)
        except CollectError as error:
            raise Refused(str(error)) from error
        return self._hold(session, name, Path(), Held(pairs, collector.report()))

    def save(self, session: str, ticket: str, patience: float = 0.0) -> Iterator[Saved]:
        """Save what was looked at; yields after every chunk that is on disk. Raises Refused, also where another import
        is under way for longer than `patience` seconds: the preview waits on then."""
        if not self._one.acquire(timeout=patience):
            raise Refused("another import is under way: wait for its end")
        try:
            name, path, collector, report = self._take(session, ticket)
            rater = self.store.rater(session)
        except Refused:
            self._one.release()
            raise
        try:
            number, rows = self.store.begin_import(rater, name, report.as_json()), 0
            for chunk in self.store.add_chunks(rater, collector):
                rows += chunk
                self.store.note_import(number, rows)
                yield Saved(rows, report.kept)
            self.store.note_import(number, rows, ended=True)
        except CollectError as error:
            raise Refused(
                f"{str(error).rstrip('.')}; {rows} rows were saved, and the same file again goes on"
            ) from error
        finally:
            self._one.release()
            self._changed()
            drop(path)

    def cancel(self, session: str, ticket: str) -> None:
        """Forget what was looked at, and the file that was uploaded for it."""
        drop(self._take(session, ticket)[1])

    def forget(self) -> None:
        """Drop all that was looked at and not answered for."""
        for ticket in list(self._waiting):
            if held := self._waiting.pop(ticket, None):
                drop(held[2])

    def under_way(self) -> bool:
        return self._one.locked()

    def _take(self, session: str, ticket: str) -> tuple[str, Path, Collector, ImportReport]:
        waiting = self._waiting.get(ticket)
        if not waiting or waiting[0] != session:
            raise Refused("this import is not waiting any more: choose the file again")
        del self._waiting[ticket]
        return waiting[1:]


def drop(path: Path) -> None:
    """Delete the file that was uploaded for an import; one that the person named on the command line is theirs."""
    if UPLOADS in path.parts:
        with suppress(OSError):
            path.unlink()
            path.parent.rmdir()


def sweep(folder: Path) -> None:
    """Delete what has waited longer than DAY since an earlier run."""
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file() and path.stat().st_mtime < time.time() - DAY:
                path.unlink()
