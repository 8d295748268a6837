"""Tells readers when a job changes: one look at the store for all of them, as other processes change jobs, too."""

import asyncio
import logging
from collections.abc import Iterable

from uploads.errors import StoreUnavailable
from uploads.jobs import Job, JobStore

_log = logging.getLogger("headwater.jobs")


class JobWatch:
    """Used on one event loop. `run` as a task; it looks only while somebody waits."""

    def __init__(self, store: JobStore, poll_s: float) -> None:
        self._store = store
        self._poll_s = poll_s
        self._waiting: dict[asyncio.Future[Job | None], tuple[str, int]] = {}
        self._someone_waits = asyncio.Event()

    async def change(self, job_id: str, version: int, timeout_s: float) -> Job | None:
        """The job once its version is higher; None when it is gone. Raises `TimeoutError`."""
        future: asyncio.Future[Job | None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = (job_id, version)
        self._someone_waits.set()
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        finally:
            del self._waiting[future]

    async def run(self) -> None:
        while True:
            if not self._waiting:
                self._someone_waits.clear()
                await self._someone_waits.wait()
            asked = {job_id for job_id, _ in self._waiting.values()}
            try:
                self._tell(asked, await self._store.look_up(asked))
            except StoreUnavailable as error:
                _log.warning("jobs cannot be watched: %s", error.message)
            await asyncio.sleep(self._poll_s)

    def _tell(self, asked: Iterable[str], found: Iterable[Job]) -> None:
        known: dict[str, Job | None] = dict.fromkeys(asked)
        known.update({job.id: job for job in found})
        for future, (job_id, version) in self._waiting.items():
            if future.done() or job_id not in known:
                continue
            job = known[job_id]
            if job is None or job.version > version:
                future.set_result(job)
