"""Blobs as files in one folder. The drafts that become blobs are on the same file system: they are renamed."""

import errno
import fcntl
import logging
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import aiofiles

from uploads.blobs import READ_BYTES, Known
from uploads.drafts import (
    NO_FILES_LEFT,
    Run,
    as_upload_error,
    make_folder,
    names_nothing,
    sweep,
    sync_folder,
    translated,
)
from uploads.errors import ContentUnavailable

_log = logging.getLogger("headwater.uploads")


class DiskBlobs:
    """What is not yet known is held by the draft's lock, which goes along with the rename.

    A blob that is lent to a program gets a second name in `lent`, held by a shared lock, so that it outlives `remove`.
    """

    def __init__(self, folder: Path, lent: Path, run: Run) -> None:
        self._folder = folder
        self._lent = lent
        self._run = run

    async def make(self) -> None:
        with translated():
            await self._run(make_folder, self._folder)
            await self._run(make_folder, self._lent)

    async def keep(self, path: Path, name: str) -> None:
        with translated():
            await self._run(put_in_place, path, self._folder / name)

    async def read(self, name: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        with readable(name):
            async with aiofiles.open(self._folder / name, "rb", buffering=0, opener=open_plain) as file:
                if os.fstat(file.fileno()).st_size < stop:
                    raise OSError(errno.ENODATA, "it is shorter than its upload")
                await file.seek(start)
                while start < stop:
                    piece = await file.read(min(READ_BYTES, stop - start))
                    if not piece:
                        raise OSError(errno.ENODATA, "it became shorter")
                    start += len(piece)
                    yield piece

    @asynccontextmanager
    async def open(self, name: str) -> AsyncIterator[Path]:
        path = self._lent / secrets.token_hex(16)
        with readable(name):
            descriptor = await self._run(lend, self._folder / name, path)
        try:
            yield path
        finally:
            await self._run(give_back, descriptor, path)

    async def remove(self, name: str) -> None:
        with translated():
            await self._run(partial((self._folder / name).unlink, missing_ok=True))

    async def sweep(self, known: Known) -> int:
        with translated():
            return await sweep(self._folder, known, self._run) + await sweep(self._lent, names_nothing, self._run)

    async def close(self) -> None:
        """Nothing is open between calls."""


def put_in_place(path: Path, target: Path) -> None:
    os.rename(path, target)
    sync_folder(target.parent)


def lend(path: Path, second_name: Path) -> int:
    """The lock comes first: a sweep would take an unheld second name for a leftover."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.link(path, second_name, follow_symlinks=False)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def give_back(descriptor: int, second_name: Path) -> None:
    try:
        second_name.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


@contextmanager
def readable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in NO_FILES_LEFT:
            raise as_upload_error(error) from error
        _log.error("blob %s cannot be read: %s", name, error)
        raise ContentUnavailable("The file's content cannot be read.") from error


def open_plain(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
