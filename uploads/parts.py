"""Resumable uploads: files that grow over several requests, and become an upload when they are whole.

The row says how much of a part is safe; it moves only after the bytes are on the disk. Bytes behind that place were
never promised to anybody, and are cut off before the next ones are written.
"""

import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from uploads import tus
from uploads.body import Body
from uploads.errors import FileTooLarge, OffsetMismatch, PartExpired, TusRefused, UnknownPart
from uploads.files import GrowingFile, make_folder, sweep, translated
from uploads.growth import Growth, open_part
from uploads.intake import Stores, discard, file_away, made_upload
from uploads.labels import label_of
from uploads.limits import Budget
from uploads.media_types import HEAD_BYTES, TAIL_BYTES, media_type_of
from uploads.observer import observed
from uploads.receive import Content
from uploads.records import Part, is_part_id, new_part_id
from uploads.turns import Turns

EXPIRED_BATCH = 100


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a request says of the bytes that it brings."""

    offset: int
    declared_bytes: int = 0
    checksum: tus.Checksum | None = None
    length: int | None = None


class Parts:
    """Used on one event loop. One request at a time works on a part: a newer one ends an older."""

    def __init__(self, stores: Stores, folder: Path) -> None:
        self._stores = stores
        self._disk = stores.drafts.disk
        self._folder = folder
        self._turns = Turns()

    @property
    def max_bytes(self) -> int:
        return self._stores.limits.max_file_bytes

    async def make(self) -> None:
        with translated():
            await self._disk.run(make_folder, self._folder)

    async def create(self, owner: str, wanted: tus.Creation) -> Part:
        """Durable when it returns. Raises what `append` could never mend: the length, the name, the quota."""
        with observed(self._stores.observer):
            label_of(tus.filename(wanted.metadata))
            self._refuse_length(wanted.length or 0)
            now = round(time.time(), 6)
            expires_at = now + self._stores.limits.part_ttl_s
            part = Part(new_part_id(), owner, wanted.metadata, wanted.length, 0, now, expires_at)
            await self._stores.records.add_part(part, self._stores.limits.quota)
            return part

    async def status(self, part_id: str, owner: str) -> Part:
        """Where it stands, when whoever still wrote to it has put away what came."""
        async with self._turns.take(turn_of(part_id, owner)):
            part = await self._find(part_id, owner)
            if not part.is_whole or part.upload_id is not None:
                return part
            async with self._opened(part) as file:  # the process died between the last byte and the upload
                return await self._finish(part, file)

    async def append(self, part_id: str, owner: str, body: Body, chunk: Chunk) -> Part:
        """Adds the body. If it is cut, stays what came; with a checksum only the whole counts."""
        with observed(self._stores.observer), self._stores.traffic.one_more(self._stores.limits):
            async with self._turns.take(turn_of(part_id, owner), body.interrupt):
                part = self._agreed(await self._find(part_id, owner), chunk)
                if part.upload_id is not None:
                    return part
                async with self._opened(part) as file:
                    await file.refuse_if_full(chunk.declared_bytes)
                    part = await self._receive(part, file, body, chunk)
                    return await self._finish(part, file) if part.is_whole else part

    async def remove(self, part_id: str, owner: str) -> None:
        """Also the upload that it became."""
        async with self._turns.take(turn_of(part_id, owner)):
            part = await self._find(part_id, owner)
            await self._stores.records.remove_part(part.id, owner)
            await self._unlink(part)
            if part.upload_id is not None:
                await discard(self._stores, part.upload_id, owner)

    async def sweep(self) -> int:
        removed = 0
        while expired := await self._stores.records.expired_parts(time.time(), EXPIRED_BATCH):
            for part in expired:
                await self._stores.records.remove_part(part.id, part.owner)
                await self._unlink(part)
            removed += len(expired)
        with translated():
            return removed + await sweep(self._folder, self._stores.records.known_parts, self._disk.run)

    async def _find(self, part_id: str, owner: str) -> Part:
        part = await self._stores.records.find_part(part_id, owner) if is_part_id(part_id) else None
        if part is None:
            raise UnknownPart("There is no resumable upload of this id.")
        if part.expires_at < time.time():
            raise PartExpired("The upload was not finished in time; begin it again.")
        return part

    def _agreed(self, part: Part, chunk: Chunk) -> Part:
        """The part, with its length if that comes now. Raises when the request does not fit to it."""
        if chunk.offset != part.received:
            raise OffsetMismatch(f"The upload stands at {part.received}, not at {chunk.offset}.")
        if chunk.length is not None:
            if part.length not in (None, chunk.length):
                raise TusRefused("`Upload-Length` is said once.")
            self._refuse_length(chunk.length)
            part = replace(part, length=chunk.length)
        self._refuse_length(part.received + chunk.declared_bytes, part.length)
        return part

    def _refuse_length(self, received: int, length: int | None = None) -> None:
        if received > self.max_bytes:
            raise FileTooLarge(f"A file has at most {self.max_bytes} bytes.")
        if length is not None and received > length:
            raise FileTooLarge(f"The upload was announced with {length} bytes, and more came.")

    @asynccontextmanager
    async def _opened(self, part: Part) -> AsyncIterator[GrowingFile]:
        opener = partial(open_part, received=part.received)
        file = await GrowingFile.open(self._disk, self._path(part), "r+b", opener)
        try:
            yield file
        finally:
            await file.close()

    async def _receive(self, part: Part, file: GrowingFile, body: Body, chunk: Chunk) -> Part:
        growth = Growth(self._stores, part, file, chunk.checksum)
        if part.length is not None:  # its whole length was counted when it was created
            return await growth.receive(body, self._stores.observer.received)
        usage = await self._stores.records.usage(part.owner)
        budget = Budget(self._stores.limits, usage, part.owner, self._stores.traffic)

        def take(count: int) -> None:
            budget.take(count)
            self._stores.observer.received(count)

        try:
            return await growth.receive(body, take)
        finally:
            budget.close()

    async def _finish(self, part: Part, file: GrowingFile) -> Part:
        """The part keeps its bytes until the upload is stored: only then nobody needs them again."""
        label = label_of(tus.filename(part.metadata))
        content = await self._content(file, label)
        second_name = await self._stores.drafts.second_name(file.path)
        try:
            made = [made_upload(part.owner, label, content)]
            (upload,) = await file_away(self._stores, made, {content.sha256: second_name}, part.id)
        finally:
            await self._stores.drafts.remove(second_name)
        self._stores.observer.kept(1)
        await self._unlink(part)
        return replace(part, upload_id=upload.id)

    async def _content(self, file: GrowingFile, label: str) -> Content:
        """Read again from the disk: it came in several requests, perhaps to several processes."""
        head, tail = await file.ends(HEAD_BYTES, TAIL_BYTES)
        with translated():
            size, sha256 = await self._disk.run(summed_up, file.path)
        return Content(size, sha256, await self._disk.run(media_type_of, head, tail, label))

    async def _unlink(self, part: Part) -> None:
        with translated():
            await self._disk.run(partial(self._path(part).unlink, missing_ok=True))

    def _path(self, part: Part) -> Path:
        return self._folder / part.id


def turn_of(part_id: str, owner: str) -> str:
    """Each owner has turns of its own: who asks for another one's upload neither waits for it nor interrupts it."""
    return f"{owner}\n{part_id}"


def summed_up(path: Path) -> tuple[int, str]:
    with path.open("rb", buffering=0) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), sha256
