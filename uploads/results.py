"""The files that jobs leave: in place and whole before a job is said to have succeeded, gone when no job has them."""

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from uploads.blobs import BlobStore
from uploads.files import open_locked, translated
from uploads.jobs import JobResult, JobStore


@dataclass(frozen=True, slots=True)
class Produced:
    """A file that a handler made and gives away, on the file system of the results."""

    path: Path
    filename: str
    media_type: str


class Results:
    def __init__(self, blobs: BlobStore, store: JobStore) -> None:
        self._blobs = blobs
        self._store = store

    @asynccontextmanager
    async def kept(self, produced: Produced) -> AsyncIterator[JobResult]:
        """Durable and whole from here on. Whether it stays is what the store says when this is left."""
        name = secrets.token_hex(16)
        with translated():
            descriptor = await asyncio.to_thread(open_locked, produced.path, os.O_RDONLY)
        try:
            with translated():
                await asyncio.to_thread(os.fsync, descriptor)
                size = os.fstat(descriptor).st_size
            await self._blobs.keep(produced.path, name)
            try:
                yield JobResult(name, produced.filename, produced.media_type, size)
            finally:
                await self._remove_unknown(name)
        finally:
            os.close(descriptor)  # the lock that kept it from a sweep

    def read(self, result: JobResult, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        return self._blobs.read(result.blob, start, stop)

    async def remove(self, result: JobResult) -> None:
        await self._blobs.remove(result.blob)

    async def sweep(self) -> int:
        return await self._blobs.sweep(self._store.known_results)

    async def _remove_unknown(self, name: str) -> None:
        """A commit may have succeeded although nobody said so: only the store knows."""
        if not await self._store.known_results([name]):
            await self._blobs.remove(name)
