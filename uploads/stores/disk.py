"""Blobs as files in one folder. The drafts that become blobs are on the same file system: they are renamed."""

import errno
import fcntl
import logging
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from io import FileIO
from pathlib import Path

import aiofiles

from uploads.blobs import READ_BYTES, Known
from uploads.drafts import names_nothing
from uploads.errors import ContentUnavailable
from uploads.files import (
    NO_FILES_LEFT,
    Disk,
    as_upload_error,
    make_folder,
    open_plain,
    sweep,
    sync_folder,
    translated,
)

_log = logging.getLogger("headwater.uploads")


class DiskBlobs:
    """What is not yet known is held by the draft's lock, which goes along with the rename.

    A blob that is lent to a program gets a second name in `lent`, held by a shared lock, so that it outlives `remove`.
    """

    def __init__(self, folder: Path, lent: Path, disk: Disk) -> None:
        self._folder = folder
        self._lent = lent
        self._disk = disk

    async def make(self) -> None:
        with translated():
            await self._disk.run(make_folder, self._folder)
            await self._disk.run(make_folder, self._lent)

    async def keep(self, path: Path, name: str) -> None:
        with translated():
            await self._disk.run(put_in_place, path, self._folder / name)

    async def read(self, name: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        with readable(name):
            async with aiofiles.open(
                self._folder / name, "rb", buffering=0, opener=open_plain, executor=self._disk.executor
            ) as file:
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
            held = await self._disk.run(lend, self._folder / name, path)
        try:
            yield path
        finally:
            await self._disk.run(give_back, held, path)

    async def remove(self, name: str) -> None:
        with translated():
            await self._disk.run(partial((self._folder / name).unlink, missing_ok=True))

    async def sweep(self, known: Known) -> int:
        with translated():
            return await sweep(self._folder, known, self._disk.run) + await sweep(
                self._lent, names_nothing, self._disk.run
            )

    async def close(self) -> None:
        """Nothing is open between calls."""


def put_in_place(path: Path, target: Path) -> None:
    os.rename(path, target)
    sync_folder(target.parent)


def lend(path: Path, second_name: Path) -> FileIO:
    """The lock comes first: a sweep would take an unheld second name for a leftover."""
    held = FileIO(path, "rb", opener=open_plain)
    try:
        fcntl.flock(held, fcntl.LOCK_SH)
        os.link(path, second_name, follow_symlinks=False)
    except BaseException:
        held.close()
        raise
    return held


def give_back(held: FileIO, second_name: Path) -> None:
    with held:
        second_name.unlink(missing_ok=True)


@contextmanager
def readable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in NO_FILES_LEFT:
            raise as_upload_error(error) from error
        _log.error("blob %s cannot be read: %s", name, error)
        raise ContentUnavailable("The file's content cannot be read.") from error
