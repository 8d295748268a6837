"""A worker on a real store and a real folder, for tests that watch jobs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from uploads.files import Disk, make_folder
from uploads.jobs import Job, JobStore, new_job_id
from uploads.results import Results
from uploads.stores.database import open_database
from uploads.stores.disk import DiskBlobs
from uploads.stores.jobs import DatabaseJobStore
from uploads.worker import Handler, Worker, WorkerLimits

WITHIN_S = 60.0
QUICK = WorkerLimits(lease_s=1.0, heartbeat_s=0.1, poll_s=0.05, retry_delay_s=0.05, sweep_interval_s=0.1)


@dataclass
class Workplace:
    store: JobStore
    results: Results
    folder: Path

    async def add(self, kind: str = "work", owner: str = "ann", max_attempts: int = 3, **arguments: Any) -> Job:
        job = Job(new_job_id(), owner, kind, arguments, max_attempts, 1_000_000.0, 1_000_000.0)
        await self.store.add(job, max_waiting=1000)
        return job

    async def now(self, job: Job) -> Job:
        found = await self.store.find(job.id, job.owner)
        assert found is not None
        return found

    async def ended(self, job: Job) -> Job:
        await eventually(lambda: self._has_ended(job))
        return await self.now(job)

    async def content(self, job: Job) -> bytes:
        assert job.result is not None
        return b"".join([piece async for piece in self.results.read(job.result, 0, job.result.size)])

    def result_files(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "results").iterdir())

    async def _has_ended(self, job: Job) -> bool:
        return (await self.now(job)).has_ended

    @asynccontextmanager
    async def working(
        self, handlers: Mapping[str, Handler], limits: WorkerLimits = QUICK, grace_s: float = 0, **changed: Any
    ) -> AsyncIterator[Worker]:
        worker = Worker(self.store, self.results, handlers, replace(limits, **changed))
        running = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            await worker.drain(grace_s)
            await asyncio.wait_for(running, WITHIN_S)


@asynccontextmanager
async def workplace(url: str, folder: Path) -> AsyncIterator[Workplace]:
    database = await open_database(url)
    with ThreadPoolExecutor(4) as executor:
        for name in ("results", "lent", "work"):
            await asyncio.to_thread(make_folder, folder / name)
        disk = Disk(executor, reserve_bytes=0)
        store = DatabaseJobStore(database)
        yield Workplace(store, Results(DiskBlobs(folder / "results", folder / "lent", disk), store), folder)
    await database.close()


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await condition():  # noqa: ASYNC110  other processes change it as well
            await asyncio.sleep(0.01)
