"""The connection to the data folder's SQLite file: one per thread, every write on disk before it is acknowledged."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlite_utils
from filelock import FileLock

from studies.migrations import migrations

Row = dict[str, Any]
FILE = "palate.db"


class StoreError(RuntimeError):
    """The store cannot be used or written. The message is one sentence that says what to do."""


class Database:
    """Rows by named parameters. `PRAGMA synchronous = full`: an acknowledged write outlives a kill and a power cut."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._local = threading.local()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (
                self._in_plain_words(),
                FileLock(folder / "palate.lock"),
            ):  # of two that start at once, one makes the tables
                self._db.enable_wal()
                migrations.apply(self._db)
        except OSError as error:
            raise StoreError(f"{folder} cannot be used ({error.strerror}): choose a writable --data-dir") from error

    @property
    def _db(self) -> sqlite_utils.Database:
        if not hasattr(self._local, "db"):
            path = self.folder / FILE
            connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            connection.execute("pragma foreign_keys = on")
            connection.execute("pragma synchronous = full")
            self._local.db = sqlite_utils.Database(connection)
        return self._local.db  # type: ignore[no-any-return]  # a thread-local's attributes have no type

    def rows(self, sql: str, **values: Any) -> list[Row]:
        """Run a statement that returns rows; a write among these is committed unless `atomic` is open."""
        with self._in_plain_words():
            return list(self._db.query(sql, values))

    def run(self, sql: str, **values: Any) -> int:
        """Run a statement that returns none; returns how many rows it changed."""
        with self._in_plain_words():
            return self._db.execute(sql, values).rowcount

    def each(self, sql: str) -> Iterator[Row]:
        """Rows one by one, for tables that need not fit into memory."""
        with self._in_plain_words():
            yield from self._db.query(sql)

    def erase(self, tables: Sequence[str]) -> None:
        """Delete all rows of these tables, and what the file and its log still hold of them."""
        with self._in_plain_words():
            connection = self._db.conn
            connection.execute("pragma secure_delete = on")  # freed pages are overwritten with zeros
            with self._db.atomic():
                connection.execute("pragma defer_foreign_keys = on")
                for table in tables:
                    connection.execute(f'delete from "{table}"')
            connection.execute("vacuum")
            connection.execute("pragma wal_checkpoint(truncate)")

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """All of it or, on any error, nothing. The right to write is taken first: of two who read and then write, the
        second would else be told at once that the database is in use."""
        with self._in_plain_words():
            outermost = not self._db.conn.in_transaction
            if outermost:
                self._db.execute("begin immediate")
            try:
                with self._db.atomic():
                    yield
            except BaseException:
                if outermost:
                    self._db.rollback()
                raise
            if outermost:
                self._db.commit()

    @contextmanager
    def _in_plain_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            said = str(error)
            if "full" in said:
                why = f"the disk of {self.folder} is full: free some space; what was stored before is safe"
            elif "readonly" in said or "unable to open" in said or "disk I/O" in said:
                why = f"{self.folder} cannot be written ({said}): choose a writable --data-dir"
            elif "not a database" in said or "malformed" in said:
                why = f"{self.folder / FILE} is damaged ({said}): restore a copy or move it away"
            elif "locked" in said:
                why = f"{self.folder / FILE} is in use by another program: close it and try again"
            else:
                raise
            raise StoreError(why) from error
