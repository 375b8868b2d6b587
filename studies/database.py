"""Where the tables stand: SQLite's file in the data folder, every write on disk before it is acknowledged; or, behind
the same few functions, PostgreSQL (`studies.postgres`)."""

import os
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import sqlite_utils
from filelock import FileLock

from studies.migrations import migrations

Row = dict[str, Any]
FILE = "palate.db"
OPENED = "palate.opened"  # in the data folder whose tables stand elsewhere
SCHEMA = "palate"  # of PostgreSQL: one data folder is one schema


class StoreError(RuntimeError):
    """The store cannot be used or written. The message is one sentence that says what to do."""


class Database(ABC):
    """Rows by named parameters, in SQL that SQLite and PostgreSQL both speak; where they differ there is a function.
    Writes come one after the other: within `atomic` nobody else's come in between."""

    folder: Path
    told = ""  # what people read of where the tables stand, "" for the folder itself
    elsewhere = ""  # what is to be told of where the tables stand, if not in the folder

    @abstractmethod
    def rows(self, sql: str, **values: Any) -> list[Row]:
        """Run a statement that returns rows; a write among these is committed unless `atomic` is open."""

    @abstractmethod
    def run(self, sql: str, **values: Any) -> int:
        """Run a statement that returns none; returns how many rows it changed."""

    @abstractmethod
    def many(self, sql: str, values: Sequence[Mapping[str, Any]]) -> int:
        """Within `atomic`: run a statement that returns none with each of these; how many rows that changed in all."""

    @abstractmethod
    def each(self, sql: str) -> Iterator[Row]:
        """Rows one by one, for tables that need not fit into memory."""

    @abstractmethod
    def atomic(self) -> AbstractContextManager[None]:
        """All of it or, on any error, nothing. The right to write is taken first: of two who read and then write, the
        second waits and reads what the first has written."""

    @abstractmethod
    def defer(self) -> None:
        """Within `atomic`: references are checked at its end."""

    @abstractmethod
    def erase(self, tables: Sequence[str]) -> None:
        """Delete all rows of these tables, and what the files that held them still hold of them."""

    @abstractmethod
    def tables(self) -> dict[str, set[str]]:
        """The columns of each table."""

    @abstractmethod
    def copy(self, to: Path) -> AbstractContextManager[sqlite3.Connection]:
        """All tables as they are at one moment, in the new SQLite file `to`, open for more."""

    def if_unsure(self, key: Hashable, value: str) -> None:  # noqa: B027 - a file always knows
        """Within `atomic`: should it stay unknown whether it was committed, `unsure` tells `value` of `key`."""

    def unsure(self, key: Hashable) -> str | None:
        """The value of a write of which nobody could say whether it was committed, until one with this key is."""
        return None


def opened(folder: Path, url: str | None = None, schema: str = SCHEMA) -> Database:
    """The database of a data folder: its file or, with a `url`, a schema in PostgreSQL. Raises StoreError."""
    if url is None:
        return Sqlite(folder)
    return _postgres().Postgres(folder, url, schema)  # type: ignore[no-any-return]


def exists(folder: Path, url: str | None = None, schema: str = SCHEMA) -> bool:
    """Whether the tables were made already; makes none. Raises StoreError."""
    return (folder / FILE).is_file() if url is None else _postgres().exists(url, schema)


def forget_unused(url: str, prefix: str, seconds: float) -> None:
    """Delete schemas whose names begin so and that nobody opened for so long. Raises StoreError."""
    _postgres().forget_unused(url, prefix, seconds)


def address(named: str | None) -> str | None:
    """Where the tables stand: as it was named, else as the environment says. A password needs no command line."""
    return named or os.environ.get("PALATE_DATABASE_URL") or None


def _postgres() -> Any:
    try:
        from studies import postgres
    except ImportError as error:
        raise StoreError(
            "psycopg is not installed, which a database of PostgreSQL needs: pip install -r requirements-postgres.txt"
        ) from error
    return postgres


class Sqlite(Database):
    """`PRAGMA synchronous = full`: an acknowledged write outlives a kill and a power cut.

    A connection holds up to 2 MB and three open files, and a page is served by dozens of threads: so threads share a
    few, of which each has one to itself from a statement's begin, or that of `atomic`, to its end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._local = threading.local()
        self._free: list[sqlite_utils.Database] = []  # the latest used is the next one
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (
                self.connected() as db,
                FileLock(folder / "palate.lock"),
            ):  # of two that start at once, one makes the tables
                db.enable_wal()
                migrations.apply(db)
        except OSError as error:
            raise StoreError(f"{folder} cannot be used ({error.strerror}): choose a writable --data-dir") from error

    @contextmanager
    def connected(self) -> Iterator[sqlite_utils.Database]:
        """A connection: the one that this thread has in `atomic`, or else one that nobody uses."""
        with self._in_plain_words():
            if held := getattr(self._local, "db", None):
                yield held
                return
            db = self._taken()
            try:
                yield db
            finally:
                self._free.append(db)

    def _taken(self) -> sqlite_utils.Database:
        try:
            return self._free.pop()
        except IndexError:
            path = self.folder / FILE
            connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            connection.execute("pragma foreign_keys = on")
            connection.execute("pragma synchronous = full")
            return sqlite_utils.Database(connection)

    def rows(self, sql: str, **values: Any) -> list[Row]:
        with self.connected() as db:
            return list(db.query(sql, values))

    def run(self, sql: str, **values: Any) -> int:
        with self.connected() as db:
            return db.execute(sql, values).rowcount

    def many(self, sql: str, values: Sequence[Mapping[str, Any]]) -> int:
        with self.connected() as db:
            return db.conn.executemany(sql, values).rowcount

    def each(self, sql: str) -> Iterator[Row]:
        with self.connected() as db:
            yield from db.query(sql)

    def defer(self) -> None:
        self.run("pragma defer_foreign_keys = on")

    def tables(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for row in self.rows(
            """select t.name, c.name as column_name from sqlite_master t, pragma_table_info(t.name) c
            where t.type = 'table' and t.name not like '%sqlite%'"""
        ):
            found.setdefault(row["name"], set()).add(row["column_name"])
        return found

    def erase(self, tables: Sequence[str]) -> None:
        with self.connected() as db:
            db.execute("pragma secure_delete = on")  # freed pages are overwritten with zeros
            with db.atomic():
                db.execute("pragma defer_foreign_keys = on")
                for table in tables:
                    db.execute(f'delete from "{table}"')
            db.execute("vacuum")
            db.execute("pragma wal_checkpoint(truncate)")

    @contextmanager
    def atomic(self) -> Iterator[None]:
        with self.connected() as db:
            if db.conn.in_transaction:  # this thread's own: none that is free is in one
                with db.atomic():
                    yield
                return
            db.execute("begin immediate")  # else the second of two would be told at once that the database is in use
            self._local.db = db
            try:
                with db.atomic():
                    yield
                db.commit()
            except BaseException:
                db.rollback()
                raise
            finally:
                self._local.db = None

    @contextmanager
    def copy(self, to: Path) -> Iterator[sqlite3.Connection]:
        path = self.folder / FILE
        with (
            writing(to),
            closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as live,
            closing(sqlite3.connect(to, isolation_level=None)) as still,
        ):
            live.backup(still)
            still.execute("pragma journal_mode = delete")  # one file, that also opens where nothing may be written
            yield still

    @contextmanager
    def _in_plain_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            said = str(error)
            if "full" in said:
                why = f"the disk of {self.told or self.folder} is full: free some space; what was stored before is safe"
            elif "readonly" in said or "unable to open" in said or "disk I/O" in said:
                why = f"{self.told or self.folder} cannot be written ({said}): choose a writable --data-dir"
            elif "not a database" in said or "malformed" in said:
                why = f"{self.told or self.folder / FILE} is damaged ({said}): restore a copy or move it away"
            elif "locked" in said:
                why = f"{self.told or self.folder / FILE} is in use by another program: close it and try again"
            else:
                raise
            raise StoreError(why) from error


@contextmanager
def writing(to: Path) -> Iterator[None]:
    """While a copy is written into the file `to`; raises StoreError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{to} cannot be written ({error}): choose another or free some space") from error
