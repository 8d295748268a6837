"""One request's bytes at the end of a part: written, summed up, and safe before the row says so."""

import asyncio
import hmac
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from uploads import tus
from uploads.body import Body
from uploads.errors import (
    BodyIncomplete,
    BodyStalled,
    ChecksumMismatch,
    FileTooLarge,
    PartExpired,
    PartLocked,
    QuotaExceeded,
    StoreFull,
)
from uploads.files import GrowingFile, open_locked, sync_folder, translated
from uploads.intake import Stores
from uploads.receive import Blocks
from uploads.records import Part

CHECKPOINT_BYTES = 16 * 1024 * 1024  # what a long request loses at most when the process dies
CUT = (BodyIncomplete, BodyStalled, PartLocked, asyncio.CancelledError)  # what came until then is good


class Growth:
    """`part` is as its row says. Without a checksum the row follows the bytes; with one it moves once, or never."""

    def __init__(self, stores: Stores, part: Part, file: GrowingFile, checksum: tus.Checksum | None) -> None:
        self.part = part
        self._stores = stores
        self._file = file
        self._checksum = checksum
        self._digest = tus.new_digest(checksum.algorithm) if checksum else None
        self._expected = part.received
        self._written = part.received

    async def receive(self, body: Body, take: Callable[[int], None]) -> Part:
        try:
            async with Blocks(self._store) as blocks:
                try:
                    async for piece in body:
                        self._expect(len(piece))
                        take(len(piece))
                        await blocks.add(piece)
                except CUT:
                    if self._checksum is None:
                        await blocks.flush()
                        await self._save()
                    raise
            self._refuse_other_bytes()
        except (ChecksumMismatch, FileTooLarge, QuotaExceeded, StoreFull):
            await self._file.cut(self.part.received)  # room for others; after a failed `_save` nobody knows the place
            raise
        await self._save()
        return self.part

    def _expect(self, count: int) -> None:
        self._expected += count
        if self.part.length is not None and self._expected > self.part.length:
            raise FileTooLarge(f"The upload was announced with {self.part.length} bytes, and more came.")
        if self._expected > self._stores.limits.max_file_bytes:
            raise FileTooLarge(f"A file has at most {self._stores.limits.max_file_bytes} bytes.")

    async def _store(self, block: bytes) -> None:
        writing = self._file.write(block)
        if self._digest is None:
            await writing
        else:
            await asyncio.gather(writing, self._stores.drafts.disk.run(self._digest.update, block))
        self._written += len(block)
        if self._checksum is None and self._written - self.part.received >= CHECKPOINT_BYTES:
            await self._save()

    async def _save(self) -> None:
        await self._file.sync()
        if self.part.received == 0:
            with translated():
                await self._stores.drafts.disk.run(sync_folder, self._file.path.parent)
        expires_at = time.time() + self._stores.limits.part_ttl_s
        moved = replace(self.part, received=self._written, expires_at=expires_at)
        await self._stores.records.move_part(self.part, moved)
        self.part = moved

    def _refuse_other_bytes(self) -> None:
        if self._checksum is None or self._digest is None:
            return
        if not hmac.compare_digest(self._digest.digest(), self._checksum.digest):
            raise ChecksumMismatch("The bytes are not those of `Upload-Checksum`; send them again.")


def open_part(path: str | Path, flags: int, *, received: int) -> int:
    """An opener: at the end of the bytes that are safe. Raises `PartLocked` when another process writes to it."""
    try:
        descriptor = open_locked(path, flags | os.O_CREAT)
    except BlockingIOError:
        raise PartLocked("Another request still works on this upload.") from None
    try:
        if os.fstat(descriptor).st_size < received:
            raise PartExpired("The bytes of this upload are lost; begin it again.")
        os.ftruncate(descriptor, received)
        os.lseek(descriptor, received, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
