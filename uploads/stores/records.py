"""Uploads, contents and parts in SQLite or PostgreSQL.

Every change to uploads begins by locking the row of `upload_usage` that counts everything. So they come one after the
other, on PostgreSQL as on SQLite: nobody counts the users of a content while another adds one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from uploads.errors import OffsetMismatch, UnknownPart
from uploads.limits import refuse_excess
from uploads.records import Cursor, MissingBlob, Part, Quota, Removed, Upload, Usage
from uploads.stores.database import Database, metadata

EVERYBODY = ""  # the owner of the row that counts what is on the store

BLOBS = Table(
    "blobs",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Index("blobs_by_name", "name", unique=True),
)
UPLOADS = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, ForeignKey(BLOBS.c.sha256), nullable=False),
    Column("media_type", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("uploads_of_owner", "owner", "created_at", "id"),
    Index("uploads_of_content", "sha256"),
)
PARTS = Table(
    "upload_parts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("length", BigInteger),
    Column("received", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("upload_id", Text),
    Index("upload_parts_of_owner", "owner"),
    Index("upload_parts_by_end", "expires_at"),
)
USAGE = Table(
    "upload_usage",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)
UPLOAD_ROWS = select(UPLOADS, BLOBS.c.name.label("blob")).join(BLOBS)
UNFINISHED = PARTS.c.upload_id.is_(None)
PROMISED = func.coalesce(PARTS.c.length, PARTS.c.received)


class SqlUploadStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, uploads: Sequence[Upload], blobs: Mapping[str, str], quota: Quota, part_id: str | None = None
    ) -> list[Upload]:
        sizes = {upload.sha256: upload.size for upload in uploads}
        async with self._database.write() as connection:
            await take_turn(connection)
            if part_id is not None:
                await finish_part(connection, part_id, uploads[0].id)
            names = await names_of(connection, list(sizes))
            new = sizes.keys() - names.keys()
            if not new <= blobs.keys():
                raise MissingBlob
            names.update({sha256: blobs[sha256] for sha256 in new})
            if new:
                rows = [{"sha256": sha256, "name": names[sha256], "size": sizes[sha256]} for sha256 in new]
                await connection.execute(insert(BLOBS), rows)
            await connection.execute(insert(UPLOADS), [row_of(upload) for upload in uploads])
            await count(connection, EVERYBODY, len(new), sum(sizes[sha256] for sha256 in new))
            for upload in uploads:
                await count(connection, upload.owner, 1, upload.size)
            for owner in {upload.owner for upload in uploads}:
                refuse_excess(quota, await usage_of(connection, owner))
        return [replace(upload, blob=names[upload.sha256]) for upload in uploads]

    async def find(self, upload_id: str, owner: str) -> Upload | None:
        async with self._database.read() as connection:
            return await find_upload(connection, upload_id, owner)

    async def page(self, owner: str, after: Cursor | None, limit: int) -> list[Upload]:
        asked = UPLOAD_ROWS.where(UPLOADS.c.owner == owner)
        if after is not None:
            asked = asked.where(tuple_(UPLOADS.c.created_at, UPLOADS.c.id) < (after.created_at, after.upload_id))
        newest_first = asked.order_by(UPLOADS.c.created_at.desc(), UPLOADS.c.id.desc()).limit(limit)
        async with self._database.read() as connection:
            return [Upload(**row) for row in (await connection.execute(newest_first)).mappings()]

    async def remove(self, upload_id: str, owner: str) -> Removed | None:
        async with self._database.write() as connection:
            await take_turn(connection)
            upload = await find_upload(connection, upload_id, owner)
            if upload is None:
                return None
            await connection.execute(delete(UPLOADS).where(UPLOADS.c.id == upload_id))
            await count(connection, owner, -1, -upload.size)
            same = select(UPLOADS.c.id).where(UPLOADS.c.sha256 == upload.sha256).limit(1)
            if (await connection.execute(same)).first() is not None:
                return Removed(upload, None)
            await connection.execute(delete(BLOBS).where(BLOBS.c.sha256 == upload.sha256))
            await count(connection, EVERYBODY, -1, -upload.size)
        return Removed(upload, upload.blob)

    async def stored(self, sha256s: Sequence[str]) -> set[str]:
        async with self._database.read() as connection:
            return set(await names_of(connection, sha256s))

    async def known_blobs(self, names: Sequence[str]) -> set[str]:
        async with self._database.read() as connection:
            return set((await connection.execute(select(BLOBS.c.name).where(BLOBS.c.name.in_(names)))).scalars())

    async def usage(self, owner: str) -> Usage:
        async with self._database.read() as connection:
            return await usage_of(connection, owner)

    async def add_part(self, part: Part, quota: Quota) -> None:
        async with self._database.write() as connection:
            await take_turn(connection)
            await connection.execute(insert(PARTS).values(asdict(part)))
            refuse_excess(quota, await usage_of(connection, part.owner))

    async def find_part(self, part_id: str, owner: str) -> Part | None:
        asked = select(PARTS).where(PARTS.c.id == part_id, PARTS.c.owner == owner)
        async with self._database.read() as connection:
            row = (await connection.execute(asked)).mappings().first()
        return Part(**row) if row else None

    async def move_part(self, part: Part, moved: Part) -> None:
        there = (PARTS.c.id == part.id, PARTS.c.received == part.received, UNFINISHED)
        async with self._database.write() as connection:
            if not (await connection.execute(update(PARTS).where(*there).values(asdict(moved)))).rowcount:
                raise OffsetMismatch("The upload is not where it was any more.")

    async def remove_part(self, part_id: str, owner: str) -> Part | None:
        part = await self.find_part(part_id, owner)
        async with self._database.write() as connection:
            await connection.execute(delete(PARTS).where(PARTS.c.id == part_id, PARTS.c.owner == owner))
        return part

    async def expired_parts(self, before: float, limit: int) -> list[Part]:
        asked = select(PARTS).where(PARTS.c.expires_at < before).order_by(PARTS.c.expires_at).limit(limit)
        async with self._database.read() as connection:
            return [Part(**row) for row in (await connection.execute(asked)).mappings()]

    async def known_parts(self, part_ids: Sequence[str]) -> set[str]:
        asked = select(PARTS.c.id).where(PARTS.c.id.in_(part_ids), UNFINISHED)
        async with self._database.read() as connection:
            return set((await connection.execute(asked)).scalars())


async def take_turn(connection: AsyncConnection) -> None:
    await connection.execute(select(USAGE).where(USAGE.c.owner == EVERYBODY).with_for_update())


async def finish_part(connection: AsyncConnection, part_id: str, upload_id: str) -> None:
    finished = update(PARTS).where(PARTS.c.id == part_id, UNFINISHED).values(upload_id=upload_id)
    if not (await connection.execute(finished)).rowcount:
        raise UnknownPart("There is no resumable upload of this id.")


async def find_upload(connection: AsyncConnection, upload_id: str, owner: str) -> Upload | None:
    asked = UPLOAD_ROWS.where(UPLOADS.c.id == upload_id, UPLOADS.c.owner == owner)
    row = (await connection.execute(asked)).mappings().first()
    return Upload(**row) if row else None


async def names_of(connection: AsyncConnection, sha256s: Sequence[str]) -> dict[str, str]:
    asked = select(BLOBS.c.sha256, BLOBS.c.name).where(BLOBS.c.sha256.in_(sha256s))
    return {row.sha256: row.name for row in await connection.execute(asked)}


async def count(connection: AsyncConnection, owner: str, files: int, size: int) -> None:
    changed = {"files": USAGE.c.files + files, "bytes": USAGE.c.bytes + size}
    if not (await connection.execute(update(USAGE).where(USAGE.c.owner == owner).values(changed))).rowcount:
        await connection.execute(insert(USAGE).values(owner=owner, files=files, bytes=size))


async def usage_of(connection: AsyncConnection, owner: str) -> Usage:
    rows = await connection.execute(select(USAGE).where(USAGE.c.owner.in_((owner, EVERYBODY))))
    kept = {row.owner: row for row in rows}
    own = kept.get(owner)
    promised = select(func.count(), func.coalesce(func.sum(PROMISED), 0)).where(UNFINISHED)
    own_parts, own_promised = (await connection.execute(promised.where(PARTS.c.owner == owner))).one()
    _, all_promised = (await connection.execute(promised)).one()
    return Usage(
        owner_files=(own.files if own else 0) + own_parts,
        owner_bytes=(own.bytes if own else 0) + int(own_promised),
        total_bytes=kept[EVERYBODY].bytes + int(all_promised),
    )


def row_of(upload: Upload) -> dict[str, Any]:
    return {name: value for name, value in asdict(upload).items() if name != "blob"}
