"""Files that are being received: named by the service, private to it, gone unless they are put in place."""

import logging
import os
import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from uploads.files import Disk, GrowingFile, make_folder, open_locked, sweep, translated

_log = logging.getLogger("headwater.uploads")


class Draft(GrowingFile):
    """Its bytes stay only where they got another name: by a rename, or by a copy."""

    async def close(self) -> None:
        try:
            await self._disk.run(partial(self.path.unlink, missing_ok=True))
        except OSError:
            _log.exception("a file that was being received could not be removed; a sweep does it")
        finally:
            await super().close()


class Drafts:
    """A folder of them."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.disk = disk
        self._folder = folder

    async def make(self) -> None:
        with translated():
            await self.disk.run(make_folder, self._folder)

    def new_path(self) -> Path:
        return self._folder / secrets.token_hex(16)

    async def open(self) -> Draft:
        return await Draft.open(self.disk, self.new_path(), "x+b", open_locked)

    async def second_name(self, path: Path) -> Path:
        """For a file that is to be put in place, and to stay where it is until that is known. Hold it meanwhile."""
        name = self.new_path()
        with translated():
            await self.disk.run(partial(os.link, path, name, follow_symlinks=False))
        return name

    async def remove(self, path: Path) -> None:
        with translated():
            await self.disk.run(partial(path.unlink, missing_ok=True))

    async def sweep(self) -> int:
        with translated():
            return await sweep(self._folder, names_nothing, self.disk.run)


async def names_nothing(_: Sequence[str]) -> set[str]:
    return set()
