"""Files that are being received: named by the service, private to it, gone unless they are put in place.

Each is locked (flock) by who writes it, from its making until its row is stored. A lock ends with its process, so a
file that nobody holds was left behind by one that died: `sweep` finds these, whichever process they belonged to.
"""

import asyncio
import errno
import fcntl
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import aiofiles
from aiofiles.threadpool.binary import AsyncFileIO

from uploads.blobs import Known
from uploads.errors import StoreFailed, StoreFull, StoreUnavailable, UploadsError

Result = TypeVar("Result")
Run: TypeAlias = Callable[..., Awaitable[Any]]
SWEEP_BATCH = 500
PRIVATE = 0o600
ROOM_CHECK_BYTES = 8 * 1024 * 1024  # between two looks at the free space
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


def open_locked(path: str | Path, flags: int) -> int:
    """As `os.open`, for an opener. A sweep may remove a file between its making and its lock; then it is made again."""
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


class Draft:
    """One file that grows at its end. Not shared; it is `close`d whatever happens."""

    def __init__(self, path: Path, drafts: "Drafts", file: AsyncFileIO) -> None:
        self.path = path
        self._drafts = drafts
        self._file = file
        self._lock = os.dup(file.fileno())  # holds the lock, and the file for reading, when `file` is closed
        self._unchecked = ROOM_CHECK_BYTES

    async def write(self, block: bytes) -> None:
        with translated():
            self._unchecked += len(block)
            if self._unchecked >= ROOM_CHECK_BYTES:
                self._unchecked = 0
                await self._drafts.run(self._drafts.refuse_full, self._lock)
            rest = memoryview(block)
            while rest:
                rest = rest[await self._file.write(rest) :]

    async def sync(self) -> None:
        """No more is written; when it returns the bytes are on the disk."""
        with translated():
            await self._drafts.run(os.fsync, self._lock)
            await self._file.close()

    async def ends(self, head_bytes: int, tail_bytes: int) -> tuple[bytes, bytes]:
        with translated():
            return await self._drafts.run(read_ends, self._lock, head_bytes, tail_bytes)

    async def close(self) -> None:
        """Gives up the lock, and removes the file if it still has its name."""
        try:
            await self._drafts.run(partial(self.path.unlink, missing_ok=True))
            await self._file.close()
        except OSError:
            _log.exception("a file that was being received could not be removed; the next sweep does it")
        finally:
            os.close(self._lock)


class Drafts:
    """A folder of them. `run` does blocking file work in the executor that all of them share."""

    def __init__(self, folder: Path, executor: Executor, reserve_bytes: int) -> None:
        self._folder = folder
        self._executor = executor
        self._reserve_bytes = reserve_bytes

    async def make(self) -> None:
        with translated():
            await self.run(make_folder, self._folder)

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)

    async def open(self) -> Draft:
        path = self._folder / secrets.token_hex(16)
        with translated():
            file = await aiofiles.open(path, "x+b", buffering=0, opener=open_locked, executor=self._executor)
            return Draft(path, self, file)

    def refuse_full(self, descriptor: int) -> None:
        found = os.fstatvfs(descriptor)
        if found.f_bavail * found.f_frsize < self._reserve_bytes:
            raise OSError(errno.ENOSPC, "less is free than uploads leave to others")

    async def sweep(self) -> int:
        return await sweep(self._folder, names_nothing, self.run)


async def names_nothing(_: Sequence[str]) -> set[str]:
    return set()


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
        descriptor = await run(open_locked, path, os.O_RDONLY)
    except OSError:
        return False  # held, gone meanwhile, or nothing that we made
    try:
        if await known([path.name]):  # its row was stored after we looked, and before it was let go
            return False
        await run(partial(path.unlink, missing_ok=True))
    finally:
        os.close(descriptor)
    return True


def read_ends(descriptor: int, head_bytes: int, tail_bytes: int) -> tuple[bytes, bytes]:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, head_bytes, 0), os.pread(descriptor, tail_bytes, max(0, size - tail_bytes))


def make_folder(folder: Path) -> None:
    """Private, and durable with the folders above it."""
    for one in reversed([folder, *folder.parents]):
        if not one.exists():
            one.mkdir(mode=0o700, exist_ok=True)
            sync_folder(one.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
