"""The files that jobs leave: in place and whole before a job is said to have succeeded, gone when no job has them."""

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from uploads.blobs import BlobStore
from uploads.errors import UploadsError
from uploads.files import open_locked, translated
from uploads.jobs import JobResult, JobStore


@dataclass(frozen=True, slots=True)
class Produced:
    """A file that a handler made and gives away, on the file system of the results."""

    path: Path
    filename: str
    media_type: str


@dataclass(frozen=True, slots=True)
class KeptResult:
    """Durable and whole. Whether it stays is what the store says when this is `close`d."""

    result: JobResult
    _results: "Results"
    _descriptor: int  # its lock keeps the file from a sweep

    async def close(self) -> None:
        try:
            with suppress(UploadsError):  # then a sweep does it
                await self._results.remove_unknown(self.result.blob)
        finally:
            os.close(self._descriptor)


class Results:
    def __init__(self, blobs: BlobStore, store: JobStore) -> None:
        self._blobs = blobs
        self._store = store

    async def keep(self, produced: Produced) -> KeptResult:
        with translated():
            descriptor = await asyncio.to_thread(open_locked, produced.path, os.O_RDONLY)
        name = secrets.token_hex(16)
        try:
            with translated():
                await asyncio.to_thread(os.fsync, descriptor)
                size = os.fstat(descriptor).st_size
            await self._blobs.keep(produced.path, name)
        except BaseException:
            os.close(descriptor)  # what is half in place has no lock and no row: a sweep takes it
            raise
        return KeptResult(JobResult(name, produced.filename, produced.media_type, size), self, descriptor)

    def read(self, result: JobResult, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        return self._blobs.read(result.blob, start, stop)

    async def remove(self, result: JobResult) -> None:
        await self._blobs.remove(result.blob)

    async def sweep(self) -> int:
        return await self._blobs.sweep(self._store.known_results)

    async def remove_unknown(self, name: str) -> None:
        """A commit may have succeeded although nobody said so: only the store knows."""
        if not await self._store.known_results([name]):
            await self._blobs.remove(name)
