"""The same tables in PostgreSQL: what differs from SQLite's file, and what becomes of a server that is away.

One data folder is one schema. Before it reads anything, a transaction that writes takes the schema's one lock, as with
SQLite: writes come one after the other, `number` grows as they are committed, and none has to be tried again.
"""

import hashlib
import re
import sqlite3
import threading
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg
import sqlite_utils
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

from studies.database import OPENED, Database, Row, StoreError, writing
from studies.migrations import POSTGRES, in_postgres, migrations

PATIENCE = 5.0  # seconds that a call waits for a server that is away: what is back by then nobody notices
MOST = 16  # connections of this process to one database
# A server that does not answer is given up.
KEEPING: dict[str, Any] = {
    "connect_timeout": int(PATIENCE),
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
    "application_name": "palate",
    "client_encoding": "utf8",
}
# Who waits for the lock is told after a while; who holds it and vanished with their machine loses it.
SETTINGS = """
set lock_timeout = '30s'; set idle_in_transaction_session_timeout = '20s';
select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'
"""
FORBIDDEN = (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction)
GONE = ("08", "53", "57P")  # error codes: of connections, of what a server has too little of, of its end and start


AWAY = "the database is away: do this once more in a moment; nothing is stored twice, and what was stored is safe"


class Away(StoreError):
    """The server does not answer. Of a transaction under way it stays unknown whether it was committed."""


class Link(psycopg.Connection[DictRow]):
    """A connection of the pool, and which schema it looks into."""

    schema = ""


class Postgres(Database):
    """The tables in `schema` of the database at `url`, made where there are none. Raises StoreError, in which no
    password stands."""

    elsewhere = ", and votes with all other tables in a PostgreSQL database"

    def __init__(self, folder: Path, url: str, schema: str) -> None:
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema):
            raise ValueError(f"{schema!r} is no name of a schema")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / OPENED).touch()  # a folder that nobody opens for long may be forgotten
        except OSError as error:
            raise StoreError(f"{folder} cannot be used ({error.strerror}): choose a writable --data-dir") from error
        self.folder, self.schema, self.where = folder, schema, place(url)
        self._local = threading.local()
        self._unsure: dict[Hashable, str] = {}
        key = int.from_bytes(hashlib.sha256(f"palate {schema}".encode()).digest()[:8], signed=True)
        self._begin = f"begin isolation level read committed read write; select pg_advisory_xact_lock({key})"
        with _connected(url) as link:
            self._make(link)
        self._pool = _pool(url)

    def _make(self, link: psycopg.Connection[DictRow]) -> None:
        with told(self.where):
            link.execute(self._begin)  # of two that start at once, one makes the tables
            if not _there(link, self.schema):
                link.execute(sql.SQL("create schema {}").format(sql.Identifier(self.schema)))
            link.execute(
                sql.SQL("comment on schema {} is {}").format(sql.Identifier(self.schema), datetime.now(UTC).isoformat())
            )
            link.execute(sql.SQL("set local search_path to {}").format(sql.Identifier(self.schema)))
            link.execute("create table if not exists _migrations (name text primary key, applied_at timestamptz)")
            done = {row["name"] for row in link.execute("select name from _migrations")}
            for name, statements in POSTGRES:
                if name not in done:
                    link.execute(in_postgres(statements))
                    link.execute("insert into _migrations values (%s, now())", [name])
            link.execute("commit")

    # ---- what Database promises

    def rows(self, sql: str, **values: Any) -> list[Row]:
        if sql.lstrip()[:6].lower() != "select" and not self._held():
            with self.atomic():
                return self.rows(sql, **values)
        with self._link() as link:
            return link.execute(by_name(sql), _cleaned(values)).fetchall()

    def run(self, sql: str, **values: Any) -> int:
        if not self._held():
            with self.atomic():
                return self.run(sql, **values)
        with self._link() as link:
            return link.execute(by_name(sql), _cleaned(values)).rowcount

    def many(self, sql: str, values: Sequence[Mapping[str, Any]]) -> int:
        with self._link() as link, link.cursor() as cursor:
            cursor.executemany(by_name(sql), [_cleaned(one) for one in values])
            return cursor.rowcount

    def each(self, sql: str) -> Iterator[Row]:
        with self._link() as link, link.transaction(), link.cursor("each") as cursor:
            yield from cursor.execute(by_name(sql))

    @contextmanager
    def atomic(self) -> Iterator[None]:
        if held := self._held():
            with told(self.where), held.transaction():
                yield
            return
        with self._link() as link:
            link.execute(self._begin, prepare=False)
            self._local.link, self._local.hopes = link, {}
            try:
                yield
            except BaseException:
                with suppress(psycopg.Error):  # a connection that is gone has been rolled back
                    link.execute("rollback")
                raise
            finally:
                self._local.link = None
            self._commit(link)

    def _commit(self, link: Link) -> None:
        try:
            done = link.execute("commit", prepare=False).statusmessage
        except psycopg.OperationalError as error:
            self._unsure |= self._local.hopes
            raise Away(AWAY) from error
        if done != "COMMIT":  # but ROLLBACK: an error before was not passed on
            raise StoreError("a statement had failed, so nothing of this was stored: try again")
        for key in self._local.hopes:
            self._unsure.pop(key, None)
        self._local.lately = self._local.hopes or getattr(self._local, "lately", {})

    def defer(self) -> None:
        self.run("set constraints all deferred")

    def erase(self, tables: Sequence[str]) -> None:
        """The tables' files are new ones afterwards. What the server's own log and its copies hold of the old ones goes
        when the server lets go of these."""
        self.run("truncate " + ", ".join(f'"{table}"' for table in tables))

    def tables(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for row in self.rows(
            """select t.relname as name, c.attname as column_name from pg_class t
            join pg_namespace n on n.oid = t.relnamespace join pg_attribute c on c.attrelid = t.oid
            where n.nspname = :schema and t.relkind = 'r' and t.relname <> '_migrations'
            and c.attnum > 0 and not c.attisdropped""",
            schema=self.schema,
        ):
            found.setdefault(row["name"], set()).add(row["column_name"])
        return found

    @contextmanager
    def copy(self, to: Path) -> Iterator[sqlite3.Connection]:
        with writing(to), closing(sqlite3.connect(to, isolation_level=None)) as still:
            migrations.apply(sqlite_utils.Database(still))
            still.execute("pragma foreign_keys = off")
            with self._link() as link, link.transaction():
                link.execute("set transaction isolation level repeatable read read only")
                for (table,) in still.execute(
                    "select name from sqlite_master where type = 'table' and name not like '%sqlite%'"
                ).fetchall():
                    names = [row[1] for row in still.execute(f'pragma table_info("{table}")')]
                    listed, places = ", ".join(f'"{name}"' for name in names), ", ".join("?" for _ in names)
                    with link.cursor("copied") as cursor:
                        order = " order by rowid" if table == "signal" else ""
                        cursor.execute(by_name(f'select {listed} from "{table}"{order}'))
                        values = (tuple(row[name] for name in names) for row in cursor)
                        still.execute("begin")
                        still.executemany(f'insert into "{table}" ({listed}) values ({places})', values)
                        still.execute("commit")
            yield still

    def if_unsure(self, key: Hashable, value: str) -> None:
        self._local.hopes[key] = value

    def unsure(self, key: Hashable) -> str | None:
        return self._unsure.get(key)

    # ---- connections

    def _held(self) -> Link | None:
        """This thread's, while `atomic` is open."""
        return getattr(self._local, "link", None)

    @contextmanager
    def _link(self) -> Iterator[Link]:
        try:
            with told(self.where):
                if held := self._held():
                    yield held
                    return
                with self._pool.connection() as link:
                    if link.schema != self.schema:
                        link.execute("select set_config('search_path', %s, false)", [self.schema])
                        link.schema = self.schema
                    yield link
        except Away:  # a verb may store and then read: who asked for it has not heard that it is stored
            self._unsure |= getattr(self._local, "lately", {})
            raise


def exists(url: str, schema: str) -> bool:
    """Whether the schema was made already. Raises StoreError."""
    with _connected(url) as link:
        return _there(link, schema)


def forget_unused(url: str, prefix: str, seconds: float) -> None:
    """Drop schemas whose names begin so and that nobody opened for so long. Raises StoreError."""
    with _connected(url) as link:
        for row in link.execute(
            """select nspname as name, obj_description(oid, 'pg_namespace') as opened from pg_namespace
            where starts_with(nspname, %s)""",
            [prefix],
        ).fetchall():
            if row["opened"] and datetime.fromisoformat(row["opened"]) < datetime.now(UTC) - timedelta(seconds=seconds):
                link.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(row["name"])))


def _there(link: psycopg.Connection[DictRow], schema: str) -> bool:
    return bool(link.execute("select 1 from pg_namespace where nspname = %s", [schema]).fetchall())


_pools: dict[str, ConnectionPool[Link]] = {}
_opening = threading.Lock()


def _pool(url: str) -> ConnectionPool[Link]:
    """The one of this process for a database, whoever's schema is looked into."""
    with _opening:
        if url not in _pools:
            _pools[url] = ConnectionPool(
                url,
                connection_class=Link,
                kwargs=KEEPING | {"autocommit": True, "row_factory": dict_row},
                configure=_configure,
                check=ConnectionPool.check_connection,
                min_size=0,
                max_size=MOST,
                timeout=PATIENCE,
                reconnect_timeout=PATIENCE,
                open=True,
            )
        return _pools[url]


def _configure(link: psycopg.Connection[DictRow]) -> None:
    link.execute(SETTINGS)


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection[DictRow]]:
    """A connection outside of the pool, which says why there is none."""
    where = place(url)
    try:
        link = psycopg.connect(url, autocommit=True, row_factory=dict_row, **KEEPING)
    except psycopg.Error as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreError(
            f"the database at {where} cannot be opened ({said}): see that it runs, and that --database-url or "
            "PALATE_DATABASE_URL is right"
        ) from error
    with closing(link), told(where):
        _configure(link)
        if link.info.parameter_status("server_encoding") != "UTF8":
            raise StoreError(f"the database at {where} cannot hold Unicode: create one with encoding 'UTF8'")
        yield link


def place(url: str) -> str:
    """Host, port and name of the database: what may be told of a URL. Raises StoreError for what is none."""
    wrong = StoreError(
        "the address of the database cannot be read: write postgresql://user:password@host:5432/name, in the password "
        "%40 for an @ and %2F for a /"
    )
    try:
        parts = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except psycopg.Error:
        raise wrong from None  # the error names what stands in the URL
    host, port, name = parts.get("host", ""), parts.get("port", ""), parts.get("dbname", "")
    if "@" in host + port + name or not re.fullmatch(r"[\d,]*", port):
        raise wrong  # part of a password is taken for one of these
    return "".join([host or "this machine", port and f":{port}", name and f"/{name}"])


@contextmanager
def told(where: str) -> Iterator[None]:
    """What the server refuses, in plain words."""
    try:
        yield
    except errors.LockNotAvailable as error:
        raise StoreError(f"the database at {where} is in use by another program: try again in a moment") from error
    except errors.DiskFull as error:
        raise StoreError(
            f"the disk of the database at {where} is full: free some space; what was stored before is safe"
        ) from error
    except FORBIDDEN as error:
        raise StoreError(
            f"the database at {where} cannot be written ({error.diag.message_primary}): let its user create a schema"
        ) from error
    except psycopg.OperationalError as error:
        if error.sqlstate and not error.sqlstate.startswith(GONE):
            raise
        raise Away(AWAY) from error


@lru_cache(maxsize=1_000)
def by_name(statement: str) -> str:
    """`:name` as psycopg writes it; what stands in quotes stays."""
    return re.sub(
        r"'[^']*'|::|:([A-Za-z_]\w*)|%",
        lambda found: f"%({found[1]})s" if found[1] else found[0].replace("%", "%%"),
        statement,
    )


def _cleaned(values: Mapping[str, Any]) -> dict[str, Any]:
    """PostgreSQL has no texts with a null character in them, and a browser may send any."""
    return {name: value.replace("\0", "\ufffd") if isinstance(value, str) else value for name, value in values.items()}
