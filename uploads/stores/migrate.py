"""Brings a database's tables up to date, one numbered file after the other, all in one transaction or not at all.

`migrations/0001_jobs.sql` runs on every database; where they differ, `0002_search.sqlite.sql` and
`0002_search.postgresql.sql` stand for one step. A file that was released is never changed: the next number changes what
it made. What has run stands in the table `migrations`. Two processes that start at once take turns.
"""

import logging
import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

FOLDER = Path(__file__).with_name("migrations")
LOCK_KEY = 0x68656164_77617465  # "headwate": PostgreSQL's name for our turn
FILE_NAME = re.compile(r"(?P<name>\d{4}_[a-z0-9_]+)(\.(?P<dialect>sqlite|postgresql))?\.sql")
_log = logging.getLogger("headwater.database")


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    statements: tuple[str, ...]


def migrate(connection: Connection) -> None:
    """Inside a transaction that may write; on SQLite its lock is the turn."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
    connection.exec_driver_sql(
        "CREATE TABLE IF NOT EXISTS migrations (name TEXT NOT NULL PRIMARY KEY, applied_at DOUBLE PRECISION NOT NULL)"
    )
    applied = set(connection.execute(text("SELECT name FROM migrations")).scalars())
    for migration in migrations(connection.dialect.name):
        if migration.name not in applied:
            apply(connection, migration)


def apply(connection: Connection, migration: Migration) -> None:
    for statement in migration.statements:
        connection.exec_driver_sql(statement)
    row = {"name": migration.name, "now": time.time()}
    connection.execute(text("INSERT INTO migrations (name, applied_at) VALUES (:name, :now)"), row)
    _log.info("the database has %s now", migration.name)


def migrations(dialect: str, folder: Path = FOLDER) -> Iterator[Migration]:
    """In the order of their numbers. A dialect's own file stands for the common one."""
    for path in sorted(folder.glob("*.sql")):
        found = FILE_NAME.fullmatch(path.name)
        if found is None:
            raise ValueError(f"{path.name} is no name for a migration")
        if found["dialect"] in (None, dialect):
            yield Migration(found["name"], tuple(statements(path.read_text("utf-8"))))


def statements(script: str) -> Iterator[str]:
    """Split at the semicolons that end a statement, as SQLite sees them: not inside a trigger or a string."""
    statement = ""
    for line in script.splitlines(keepends=True):
        if not statement and (not line.strip() or line.startswith("--")):
            continue
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement.strip().removesuffix(";")
            statement = ""
    if statement.strip():
        raise ValueError(f"a statement has no end: {statement.strip()[:60]}")
