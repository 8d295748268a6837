"""Real databases for tests: a file of SQLite, and a PostgreSQL server that the test session starts for itself."""

import asyncio
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest

from tests.server import wait_until

NEEDED_VARIABLE = "TESTS_NEED_POSTGRESQL"  # .ci/run sets it: there a missing server is a failure, not a skip
USER = "headwater"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 60.0


@dataclass
class PostgresServer:
    """Reached by its socket in `folder`, so that it needs no port."""

    folder: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def new_database(self) -> str:
        """The URL of an empty one."""
        name = f"test_{next(self._numbers)}"
        asyncio.run(self._execute(f"CREATE DATABASE {name}"))
        return f"postgresql+asyncpg://{USER}@/{name}?host={self.folder}"

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(host=str(self.folder), user=USER, database="postgres")
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def postgres_binaries() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    return next((path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)


def postgres_or_skip() -> Path:
    binaries = postgres_binaries()
    if binaries is None:
        reason = "PostgreSQL is not installed (Debian: apt-get install postgresql)"
        if os.environ.get(NEEDED_VARIABLE):
            pytest.fail(reason)
        pytest.skip(reason)
    return binaries


@contextmanager
def postgres_server(binaries: Path) -> Iterator[PostgresServer]:
    """Neither initdb nor the server runs as root; then a user without rights of its own runs them."""
    folder = Path(tempfile.mkdtemp(prefix="headwater-postgres-"))
    rights: list[str] = []
    if os.geteuid() == 0:
        user = server_user()
        os.chown(folder, user.pw_uid, user.pw_gid)
        rights = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    data, log = folder / "data", folder / "log"
    init = [binaries / "initdb", "-D", data, "-U", USER, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
    subprocess.run([*rights, *map(str, init)], check=True, capture_output=True, cwd=folder)
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", *rights[1:], "--pdeathsig=KILL", str(binaries / "postgres"), "-D", str(data), *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    try:
        wait_until(
            lambda: b"ready to accept connections" in log.read_bytes() or process.poll() is not None,
            START_TIMEOUT_S,
            "PostgreSQL is ready",
        )
        assert process.poll() is None, log.read_text()
        yield PostgresServer(folder)
    finally:
        process.send_signal(signal.SIGINT)  # does not wait for clients, as SIGTERM would
        process.wait(STOP_TIMEOUT_S)
        shutil.rmtree(folder)


def server_user() -> pwd.struct_passwd:
    names = {user.pw_name: user for user in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]
