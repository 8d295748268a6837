"""`AccessStore` on the database of uploads and jobs, SQLite or PostgreSQL."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import BigInteger, Column, Double, Table, Text, bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.access.keys import ApiKey
from service.access.principal import SCOPES, Scope
from service.access.users import User
from uploads.stores.database import Database, metadata

KEYS = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("last_used_at", Double),
)
USERS = Table(
    "access_users",
    metadata,
    Column("name", Text, primary_key=True),
    Column("scopes", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("changed_at", Double, nullable=False),
)
VERSION = Table("access_version", metadata, Column("number", BigInteger, primary_key=True, autoincrement=False))


class SqlAccessStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def version(self) -> int:
        async with self._database.read() as connection:
            return int((await connection.execute(select(VERSION.c.number))).scalar_one())

    async def add_key(self, key: ApiKey) -> None:
        async with self._database.write() as connection:
            await grow_version(connection)
            await connection.execute(insert(KEYS).values(row_of(key)))

    async def keys(self) -> list[ApiKey]:
        async with self._database.read() as connection:
            rows = await connection.execute(select(KEYS).order_by(KEYS.c.created_at, KEYS.c.id))
            return [key_of(dict(row)) for row in rows.mappings()]

    async def revoke_key(self, key_id: str, now: float) -> ApiKey | None:
        valid = (KEYS.c.id == key_id, KEYS.c.revoked_at.is_(None))
        async with self._database.write() as connection:
            await grow_version(connection)
            await connection.execute(update(KEYS).where(*valid).values(revoked_at=now))
            row = (await connection.execute(select(KEYS).where(KEYS.c.id == key_id))).mappings().first()
        return None if row is None else key_of(dict(row))

    async def touch(self, used_at: Mapping[str, float]) -> None:
        if not used_at:
            return
        is_newer = or_(KEYS.c.last_used_at.is_(None), KEYS.c.last_used_at < bindparam("at"))
        noted = update(KEYS).where(KEYS.c.id == bindparam("key"), is_newer).values(last_used_at=bindparam("at"))
        rows = [{"key": key_id, "at": at} for key_id, at in sorted(used_at.items())]  # in order: no deadlocks
        async with self._database.write() as connection:
            await connection.execute(noted, rows)

    async def put_user(self, user: User) -> bool:
        async with self._database.write() as connection:
            await grow_version(connection)
            removed = await connection.execute(delete(USERS).where(USERS.c.name == user.name))
            await connection.execute(insert(USERS).values(row_of(user)))
        return not removed.rowcount

    async def users(self) -> list[User]:
        async with self._database.read() as connection:
            rows = await connection.execute(select(USERS).order_by(USERS.c.name))
            return [user_of(dict(row)) for row in rows.mappings()]

    async def remove_user(self, name: str) -> bool:
        async with self._database.write() as connection:
            await grow_version(connection)
            return bool((await connection.execute(delete(USERS).where(USERS.c.name == name))).rowcount)


async def grow_version(connection: AsyncConnection) -> None:
    """First in every change: its row is the turn, so that changes get their numbers in the order of their commits."""
    await connection.execute(update(VERSION).values(number=VERSION.c.number + 1))


def row_of(record: ApiKey | User) -> dict[str, Any]:
    return {**asdict(record), "scopes": " ".join(sorted(record.scopes))}


def key_of(row: Mapping[str, Any]) -> ApiKey:
    return ApiKey(**{**row, "scopes": scopes_of(row["scopes"])})


def user_of(row: Mapping[str, Any]) -> User:
    return User(**{**row, "scopes": scopes_of(row["scopes"])})


def scopes_of(text: str) -> frozenset[Scope]:
    """What this version of the service does not know allows nothing."""
    return frozenset(scope for scope in SCOPES if scope in text.split())
