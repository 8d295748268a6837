"""Files that this process writes: private, locked while they are open, and found by a sweep when their process died.

A lock (flock) ends with its process, so a file that nobody holds was left behind, whichever process it belonged to.
Everything here that waits for a disk runs in threads.
"""

import asyncio
import errno
import fcntl
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, TypeVar

import aiofiles
from aiofiles.threadpool.binary import AsyncFileIO

from uploads.blobs import Known
from uploads.errors import StoreFailed, StoreFull, StoreUnavailable, UploadsError

Result = TypeVar("Result")
Run: TypeAlias = Callable[..., Awaitable[Any]]
PRIVATE = 0o600
PRIVATE_FOLDER = 0o700
ROOM_CHECK_BYTES = 8 * 1024 * 1024  # between two looks at the free space
SWEEP_BATCH = 500
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_FILES_LEFT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_log = logging.getLogger("headwater.uploads")


def as_upload_error(error: OSError) -> UploadsError:
    if error.errno in NO_ROOM:
        return StoreFull("There is no room for this on the disk.")
    if error.errno in NO_FILES_LEFT:
        return StoreUnavailable("The service has too many files open; try again.")
    return StoreFailed("The disk failed while the file was kept.")


@contextmanager
def translated() -> Iterator[None]:
    """The system's words and paths go into the log only."""
    try:
        yield
    except OSError as error:
        _log.warning("the disk failed: %s", error)
        raise as_upload_error(error) from error


class Disk:
    """The threads for file work, and how much room uploads leave to others."""

    def __init__(self, executor: Executor, reserve_bytes: int) -> None:
        self.executor = executor
        self._reserve_bytes = reserve_bytes

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self.executor, function, *arguments)

    def refuse_full(self, descriptor: int, coming_bytes: int = 0) -> None:
        found = os.fstatvfs(descriptor)
        if found.f_bavail * found.f_frsize < self._reserve_bytes + coming_bytes:
            raise OSError(errno.ENOSPC, "less is free than uploads leave to others")


class GrowingFile:
    """Written at its end by one request. It is `close`d whatever happens, and locked until then."""

    def __init__(self, disk: Disk, path: Path, file: AsyncFileIO) -> None:
        self.path = path
        self._disk = disk
        self._file = file
        self._lock = os.dup(file.fileno())  # holds the lock, and the file for reading, when `file` is closed
        self._unchecked = 0

    @classmethod
    async def open(cls, disk: Disk, path: Path, mode: Literal["x+b", "r+b"], opener: Callable[[str, int], int]) -> Self:
        with translated():
            file = await aiofiles.open(path, mode, buffering=0, opener=opener, executor=disk.executor)
            return cls(disk, path, file)

    async def refuse_if_full(self, coming_bytes: int) -> None:
        with translated():
            await self._disk.run(self._disk.refuse_full, self._lock, coming_bytes)

    async def write(self, block: bytes) -> None:
        with translated():
            self._unchecked += len(block)
            if self._unchecked >= ROOM_CHECK_BYTES:
                self._unchecked = 0
                await self._disk.run(self._disk.refuse_full, self._lock, len(block))
            rest = memoryview(block)
            while rest:
                rest = rest[await self._file.write(rest) :]

    async def sync(self) -> None:
        """When it returns, what was written is on the disk."""
        with translated():
            await self._disk.run(os.fsync, self._lock)

    async def end(self) -> None:
        """No more is written. What the system has to say about the writing, it says here at the latest."""
        await self.sync()
        with translated():
            await self._file.close()

    async def cut(self, size: int) -> None:
        """Gives back the room of what stands behind, if anything does."""
        with translated():
            await self._disk.run(os.ftruncate, self._lock, size)

    async def ends(self, head_bytes: int, tail_bytes: int) -> tuple[bytes, bytes]:
        with translated():
            return await self._disk.run(read_ends, self._lock, head_bytes, tail_bytes)

    async def close(self) -> None:
        """Gives up the lock. In a thread: with the last hold on a removed file the system frees all of its blocks."""
        try:
            await self._file.close()
        except OSError:
            _log.exception("a file that nobody keeps could not be closed")
        finally:
            await self._disk.run(os.close, self._lock)


def open_locked(path: str | Path, flags: int) -> int:
    """As `os.open`, for an opener. A sweep may remove a file between its making and its lock; then it is made again.

    Raises `BlockingIOError` when somebody else holds the file.
    """
    while True:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def open_plain(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)


def read_ends(descriptor: int, head_bytes: int, tail_bytes: int) -> tuple[bytes, bytes]:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, head_bytes, 0), os.pread(descriptor, tail_bytes, max(0, size - tail_bytes))


def make_folder(folder: Path) -> None:
    """Private, and durable with the folders above it."""
    for one in reversed([folder, *folder.parents]):
        if not one.exists():
            one.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            sync_folder(one.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def sweep(folder: Path, known: Known, run: Run) -> int:
    """Removes the files that are not `known` and that nobody holds; says how many."""
    names: list[str] = await run(os.listdir, folder)
    removed = 0
    for start in range(0, len(names), SWEEP_BATCH):
        batch = names[start : start + SWEEP_BATCH]
        for name in set(batch) - await known(batch):
            removed += await remove_unheld(folder / name, known, run)
    return removed


async def remove_unheld(path: Path, known: Known, run: Run) -> bool:
    try:
        held: FileIO = await run(partial(open, path, "rb", buffering=0, opener=open_locked))
    except OSError:
        return False  # held by another, gone meanwhile, or nothing that we made
    try:
        if await known([path.name]):  # its row was stored after we looked, and before it was let go
            return False
        await run(partial(path.unlink, missing_ok=True))
    finally:
        await run(held.close)
    return True
