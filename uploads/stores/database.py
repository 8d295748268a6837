"""One database for everything in `uploads`: SQLite in a file, or a PostgreSQL server, chosen by the URL.

Tables are described here in `metadata`, by each store for itself; what makes and changes them in a database are the
numbered files in `migrations/`. A transaction either reads (`read`) or may write (`write`). SQLite has one writer at a
time: `write` takes its lock at once, so that a transaction never fails in the middle for having read before it wrote.
"""

import asyncio
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, MetaData, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from uploads.errors import StoreFull, StoreUnavailable
from uploads.files import sync_folder
from uploads.stores.migrate import migrate

DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
WRITES = "headwater_writes"  # the execution option that tells `begin` from `begin immediate`
SQLITE_TROUBLE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
)
POSTGRES_TROUBLE = ("08", "40", "53", "55", "57", "58")
"""Classes of errors: the connection, a conflict, resources, locks, a server that leaves, its system."""
POSTGRES_FULL = "53100"
LOCK_PAUSE_S = 0.01
_log = logging.getLogger("headwater.database")

metadata = MetaData()


class InvalidDatabaseUrl(ValueError):
    """Says what is wrong without showing the URL: it may hold a password."""


class Database:
    """Made by `open_database`. Used on one event loop."""

    def __init__(self, engine: AsyncEngine, timeout_s: float) -> None:
        self._reading = engine
        self._writing = engine.execution_options(**{WRITES: True})
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()  # SQLite's own waiting is not fair, and each waiter would hold a connection
        self.dialect = engine.dialect.name

    @property
    def is_sqlite(self) -> bool:
        return self.dialect == "sqlite"

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One snapshot on SQLite; on PostgreSQL each statement sees what was committed before it.

        Only statements belong into a transaction: what else raises `OSError` there is taken for the database's.
        """
        with translated():
            async with self._reading.begin() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Durable when it is left without an exception, undone otherwise. Keep it short: SQLite has one writer."""
        with translated():
            if not self.is_sqlite:
                async with self._writing.begin() as connection:
                    yield connection
                return
            async with asyncio.timeout(self._timeout_s):
                await self._turn.acquire()
            try:
                async with self._writing.begin() as connection:
                    yield connection
            finally:
                self._turn.release()

    async def close(self) -> None:
        await self._reading.dispose()


async def open_database(url: str, *, connections: int = 5, timeout_s: float = 10.0) -> Database:
    """Connects and brings the tables up to date. Raises `InvalidDatabaseUrl` and `StoreUnavailable`.

    `timeout_s` bounds each wait: for a connection, for another writer, for a statement of PostgreSQL.
    """
    address = read_url(url)
    engine = await make_engine(address, connections, timeout_s)
    database = Database(engine, timeout_s)
    try:
        async with database.write() as connection:
            await connection.run_sync(migrate)
    except BaseException:
        await database.close()
        raise
    return database


def sqlite_url(path: Path) -> str:
    return URL.create(DRIVERS["sqlite"], database=str(path)).render_as_string()


def read_url(url: str) -> URL:
    try:
        address = make_url(url)
    except ArgumentError:
        raise InvalidDatabaseUrl("The database's URL cannot be read.") from None
    driver = DRIVERS.get(address.drivername)
    if driver is None:
        raise InvalidDatabaseUrl(f"The database {address.drivername} is not one of sqlite, postgresql.")
    if driver == DRIVERS["sqlite"] and address.database in (None, "", ":memory:"):
        raise InvalidDatabaseUrl("SQLite needs a file: what is only in memory is lost with the process.")
    return address.set(drivername=driver)


async def make_engine(address: URL, connections: int, timeout_s: float) -> AsyncEngine:
    pool: dict[str, Any] = {"pool_size": connections, "max_overflow": 0, "pool_timeout": timeout_s}
    pool["pool_use_lifo"] = True  # the one that was used last, so that few are kept warm
    pool["hide_parameters"] = True  # what clients sent belongs into no log
    if address.drivername == DRIVERS["postgresql"]:
        timeouts = {"timeout": timeout_s, "command_timeout": timeout_s}
        return create_async_engine(address, pool_pre_ping=True, connect_args=timeouts, **pool)
    await asyncio.to_thread(prepare_file, Path(str(address.database)), timeout_s)
    engine = create_async_engine(address, connect_args={"timeout": timeout_s}, **pool)
    event.listen(engine.sync_engine, "connect", prepare_sqlite)
    event.listen(engine.sync_engine, "begin", begin_sqlite)
    return engine


def prepare_file(path: Path, timeout_s: float) -> None:
    """Private, unlike what SQLite makes; its journals get the rights of the file. Processes take turns at it:

    the change to WAL needs the file for itself, and SQLite does not wait for that.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(path.with_name(path.name + ".lock"), timeout_s):
            if not path.exists():  # whoever closes an open one drops SQLite's locks on it
                os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
                sync_folder(path.parent)
            with closing(sqlite3.connect(path, timeout=timeout_s)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
    except OSError as error:
        raise StoreUnavailable(f"The database's file {path} cannot be made: {error.strerror}.") from error
    except sqlite3.Error as error:
        raise StoreUnavailable(f"The database's file {path} cannot be opened: {error}.") from error


@contextmanager
def locked(path: Path, timeout_s: float) -> Iterator[None]:
    deadline = time.monotonic() + timeout_s
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOCK_PAUSE_S)
            else:
                break
        yield
    finally:
        os.close(descriptor)


def prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes late and is never IMMEDIATE
    cursor = connection.cursor()
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def begin_sqlite(connection: Connection) -> None:
    is_writer = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")


@contextmanager
def translated() -> Iterator[None]:
    """A driver's words go into the log only; a statement that is wrong is a bug and stays what it is."""
    try:
        yield
    except DBAPIError as error:
        if not is_trouble(error):
            raise
        _log.warning("the database failed: %s", type(error.orig).__name__, exc_info=error)
        if is_full(error):
            raise StoreFull("The database has no room for this.") from error
        raise StoreUnavailable("The database does not answer; try again.") from error
    except (PoolTimeout, OSError) as error:
        _log.warning("the database is out of reach or too busy: %s", type(error).__name__)
        raise StoreUnavailable("The database is out of reach or too busy; try again.") from error


def is_trouble(error: DBAPIError) -> bool:
    """Comes from outside: a lock, a full disk, a connection that broke, a server that leaves."""
    code, state = driver_codes(error)
    if code is not None:
        return code in SQLITE_TROUBLE
    return state is None or state[:2] in POSTGRES_TROUBLE


def is_full(error: DBAPIError) -> bool:
    code, state = driver_codes(error)
    return code == sqlite3.SQLITE_FULL or state == POSTGRES_FULL


def driver_codes(error: DBAPIError) -> tuple[int | None, str | None]:
    """SQLite's primary code and PostgreSQL's SQLSTATE; a connection that is gone has neither."""
    code: int | None = getattr(error.orig, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF, getattr(error.orig, "sqlstate", None)
