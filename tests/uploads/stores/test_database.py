"""The database that all stores share, on SQLite and on a real PostgreSQL server."""

import asyncio
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tests.server import ROOT
from uploads.errors import StoreUnavailable
from uploads.stores.database import Database, InvalidDatabaseUrl, open_database, sqlite_url

OPEN = """
import asyncio, sys
from uploads.stores.database import open_database
async def main():
    await (await open_database(sys.argv[1])).close()
asyncio.run(main())
"""
INSERT = text("INSERT INTO migrations (name, applied_at) VALUES (:name, 0)")
COUNT = text("SELECT count(*) FROM migrations WHERE applied_at = 0")


@asynccontextmanager
async def opened(url: str, timeout_s: float = 10.0) -> AsyncIterator[Database]:
    database = await open_database(url, timeout_s=timeout_s)
    try:
        yield database
    finally:
        await database.close()


async def count(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(COUNT)).scalar_one())


async def test_what_is_written_is_there_after_opening_again(database_url: str) -> None:
    async with opened(database_url) as database, database.write() as connection:
        await connection.execute(INSERT, {"name": "a"})
    async with opened(database_url) as database:
        assert await count(database) == 1


async def test_a_transaction_that_raises_leaves_nothing(database_url: str) -> None:
    async with opened(database_url) as database:

        async def write_and_fail() -> None:
            async with database.write() as connection:
                await connection.execute(INSERT, {"name": "a"})
                raise LookupError

        with pytest.raises(LookupError):
            await write_and_fail()
        assert await count(database) == 0


async def test_a_cancelled_transaction_leaves_nothing_and_lets_the_next_one_in(database_url: str) -> None:
    async with opened(database_url) as database:
        has_written = asyncio.Event()

        async def write_and_wait() -> None:
            async with database.write() as connection:
                await connection.execute(INSERT, {"name": "a"})
                has_written.set()
                await asyncio.Event().wait()

        writing = asyncio.create_task(write_and_wait())
        await asyncio.wait_for(has_written.wait(), 10)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        async with database.write() as connection:
            await connection.execute(INSERT, {"name": "b"})
        assert await count(database) == 1


async def test_more_writers_than_connections_all_get_their_turn(database_url: str) -> None:
    async with opened(database_url) as database:

        async def write(number: int) -> None:
            async with database.write() as connection:
                await connection.execute(INSERT, {"name": str(number)})

        await asyncio.gather(*(write(number) for number in range(50)))
        assert await count(database) == 50


async def test_a_broken_rule_of_a_table_is_not_called_trouble(database_url: str) -> None:
    async with opened(database_url) as database:
        with pytest.raises(IntegrityError):
            async with database.write() as connection:
                await connection.execute(INSERT, [{"name": "a"}, {"name": "a"}])


async def test_what_was_to_be_stored_is_not_told_by_an_error(database_url: str) -> None:
    async with opened(database_url) as database:
        with pytest.raises(IntegrityError) as caught:
            async with database.write() as connection:
                await connection.execute(INSERT, [{"name": "canary"}, {"name": "canary"}])
        assert "[parameters" not in str(caught.value).replace("[SQL parameters hidden", "")


def test_processes_that_open_it_at_once_take_turns(database_url: str) -> None:
    command = [sys.executable, "-c", OPEN, database_url]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    complaints = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, complaints


async def test_another_process_that_keeps_the_lock_is_waited_for_only_so_long(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "headwater.db")
    async with opened(url) as holder, opened(url, timeout_s=0.1) as database:
        async with holder.write():
            with pytest.raises(StoreUnavailable):
                async with database.write():
                    pass
            assert await count(database) == 0, "readers do not wait"
        async with database.write() as connection:
            await connection.execute(INSERT, {"name": "a"})


async def test_a_server_that_is_not_there_is_said_without_its_password() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await open_database("postgresql://headwater:hidden@127.0.0.1:1/none")
    assert "hidden" not in caught.value.message


async def test_a_sqlite_file_is_private_and_written_through(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "headwater.db"
    async with opened(sqlite_url(path)) as database:
        async with database.write() as connection:
            await connection.execute(INSERT, {"name": "a"})
            pragmas = ("journal_mode", "synchronous", "foreign_keys")
            found = [(await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one() for name in pragmas]
        assert found == ["wal", 2, 1]
        assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "url", ["mysql://user:hidden@host/name", "sqlite://", "sqlite:///:memory:", "no url hidden", "sqlite+pysqlite:///a"]
)
async def test_a_url_that_cannot_work_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(InvalidDatabaseUrl) as caught:
        await open_database(url)
    assert "hidden" not in str(caught.value)
