"""What the rest of the service does with uploads: keep, find, read, list, delete. It knows no HTTP."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from uploads.errors import UnknownUpload, UploadsError
from uploads.intake import Intake, Stores, discard
from uploads.limits import Budget, UploadLimits
from uploads.observer import observed
from uploads.parts import Parts
from uploads.records import Cursor, Upload, is_upload_id

_log = logging.getLogger("headwater.uploads")


class Uploads:
    """Used on one event loop. An `owner` sees and deletes only what is its own."""

    def __init__(self, stores: Stores, parts: Parts) -> None:
        self._stores = stores
        self.parts = parts

    @property
    def limits(self) -> UploadLimits:
        return self._stores.limits

    async def keep(self, stream: AsyncIterable[bytes], *, filename: str | None, owner: str) -> Upload:
        """Receives one file. Raises what is wrong with it or with the stores; then nothing of it stays."""
        async with self.intake(owner) as intake:
            await intake.add(stream, filename)
            (upload,) = await intake.commit()
        return upload

    @asynccontextmanager
    async def intake(self, owner: str) -> AsyncIterator[Intake]:
        """For several files that are kept together: `add` each, then `commit`."""
        with observed(self._stores.observer), self._stores.traffic.one_more(self.limits):
            usage = await self._stores.records.usage(owner)
            intake = Intake(self._stores, Budget(self.limits, usage, owner, self._stores.traffic), owner)
            try:
                yield intake
            finally:
                await intake.close()

    async def find(self, upload_id: str, owner: str) -> Upload:
        """Raises `UnknownUpload`, also for somebody else's."""
        upload = await self._stores.records.find(upload_id, owner) if is_upload_id(upload_id) else None
        if upload is None:
            raise UnknownUpload("There is no upload of this id.")
        return upload

    async def page(self, owner: str, after: Cursor | None, limit: int) -> list[Upload]:
        """The newest first."""
        return await self._stores.records.page(owner, after, limit)

    def read(self, upload: Upload, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` to before `stop`. Raises `ContentUnavailable` before the first piece."""
        return self._stores.blobs.read(upload.blob, start, upload.size if stop is None else stop)

    @asynccontextmanager
    async def local_path(self, upload: Upload) -> AsyncIterator[Path]:
        """A file with the upload's bytes, to be read only, until it is left; it outlives the upload."""
        async with self._stores.blobs.open(upload.blob) as path:
            yield path

    async def delete(self, upload_id: str, owner: str) -> None:
        """Raises `UnknownUpload`. The bytes go with the last upload that has them."""
        if not is_upload_id(upload_id) or not await discard(self._stores, upload_id, owner):
            raise UnknownUpload("There is no upload of this id.")

    async def wait_until_idle(self, within_s: float) -> None:
        """Returns when nothing is being received any more, or the time is up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._stores.traffic.idle.wait()

    async def sweep_forever(self, interval_s: float) -> None:
        while True:
            try:
                await self.sweep()
            except UploadsError:
                _log.warning("the search for leftovers failed; the next one is in %g s", interval_s, exc_info=True)
            await asyncio.sleep(interval_s)

    async def sweep(self) -> int:
        """Removes what requests and processes that died have left behind."""
        removed = await self._stores.drafts.sweep() + await self.parts.sweep()
        removed += await self._stores.blobs.sweep(self._stores.records.known_blobs)
        if removed:
            _log.info("removed %d files that were left behind", removed)
        return removed
