"""Runs jobs: claims them, keeps their leases while handlers work, and writes down how each attempt ended.

It knows no kind of job; the handlers are given to it. What a handler raises decides: an `UploadsError` fails the job,
or queues it again when it is `retryable`; `JobInterrupted` gives it back untouched; anything else is a bug of ours,
logged once and tried again within the job's attempts. A job whose worker dies is queued again when its lease runs out.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from uploads.errors import StoreUnavailable, UploadsError
from uploads.jobs import Claim, Job, JobError, JobStore, LeaseLost
from uploads.results import KeptResult, Produced, Results

ABANDONED = JobError("job_abandoned", "The process that ran this job died each time.")
CRASHED = JobError("job_crashed", "The job failed unexpectedly; the service's log says why.")
REPORT_INTERVAL_S = 0.5  # each report is a durable write
STORE_RETRY_S = 0.5
FORGET_BATCH = 100
FORGET_INTERVAL_S = 60.0
_log = logging.getLogger("headwater.jobs")

Report: TypeAlias = Callable[[int, int | None], None]
"""How much is done, and of how much. It costs nothing and may be called for every row."""
Handler: TypeAlias = Callable[[Job, Report], Awaitable[Produced | None]]
Working: TypeAlias = "asyncio.Task[KeptResult | None]"


class JobInterrupted(Exception):
    """Raised by a handler that cannot go on here and now: the job goes back, as if it had not been tried."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    max_running: int = 4
    """Of each kind: hours of batches must not keep a short job of another kind waiting."""
    lease_s: float = 30.0
    heartbeat_s: float = 2.0
    poll_s: float = 1.0
    retry_delay_s: float = 5.0
    keep_s: float = 604_800.0
    sweep_interval_s: float = 600.0


class Progress:
    """The newest numbers of one attempt. A handler sets them; the attempt's supervisor writes them down."""

    def __init__(self) -> None:
        self.latest: tuple[int, int | None] | None = None

    def __call__(self, done: int, total: int | None = None) -> None:
        self.latest = (done, total)

    def take(self) -> tuple[int, int | None] | None:
        latest, self.latest = self.latest, None
        return latest


class Worker:
    """Used on one event loop: `run` ends after `drain` was called; when both have returned no job is in our hands.

    `chores` are done now and then: sweeps for what dead processes left behind.
    """

    def __init__(
        self,
        store: JobStore,
        results: Results,
        handlers: Mapping[str, Handler],
        limits: WorkerLimits,
        chores: Sequence[Callable[[], Awaitable[object]]] = (),
    ) -> None:
        self._store = store
        self._results = results
        self._handlers = handlers
        self._limits = limits
        self._chores = (results.sweep, *chores)
        self._running: dict[asyncio.Task[None], Working] = {}
        self._running_of: Counter[str] = Counter()
        self._woken = asyncio.Event()
        self._leaving = asyncio.Event()

    @property
    def running(self) -> int:
        return len(self._running)

    def wake(self) -> None:
        """There may be something to do: a job was added in this process."""
        self._woken.set()

    async def run(self) -> None:
        rounds = [self._claim_and_start, self._expire, self._forget, self._do_chores]
        pauses_s = [self._limits.poll_s, self._limits.lease_s / 4, FORGET_INTERVAL_S, self._limits.sweep_interval_s]
        async with asyncio.TaskGroup() as group:
            for work, pause_s in zip(rounds, pauses_s, strict=True):
                group.create_task(self._repeat(work, pause_s))

    async def drain(self, grace_s: float) -> None:
        """Takes no more, lets what runs go on for `grace_s`, then gives it back."""
        self._leaving.set()
        self._woken.set()
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        for working in self._running.values():
            working.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _repeat(self, work: Callable[[], Awaitable[None]], pause_s: float) -> None:
        """Whatever goes wrong in one round, there is a next one."""
        while not self._leaving.is_set():
            try:
                await work()
            except UploadsError as error:
                _log.warning("the worker could not go on: %s", error.message)
            except Exception:  # noqa: BLE001  the outermost place: a worker that ends silently is worse
                _log.exception("the worker failed")
            await wait_for(self._leaving, pause_s)

    async def _claim_and_start(self) -> None:
        """Until the worker leaves."""
        while not self._leaving.is_set():
            self._woken.clear()
            kinds = [kind for kind in self._handlers if self._running_of[kind] < self._limits.max_running]
            claim = await self._store.claim(kinds, self._limits.lease_s) if kinds else None
            if claim is not None and self._leaving.is_set():
                await self._store.give_back(claim)
            elif claim is not None:
                self._start(claim)
            else:
                await wait_for(self._woken, self._limits.poll_s)

    def _start(self, claim: Claim) -> None:
        progress = Progress()
        working = asyncio.create_task(self._work(claim.job, progress))
        attempt = asyncio.create_task(self._attempt(claim, working, progress))
        self._running[attempt] = working
        self._running_of[claim.job.kind] += 1
        attempt.add_done_callback(partial(self._ended, claim.job.kind))

    async def _work(self, job: Job, report: Report) -> KeptResult | None:
        produced = await self._handlers[job.kind](job, report)
        return None if produced is None else await self._results.keep(produced)

    def _ended(self, kind: str, attempt: asyncio.Task[None]) -> None:
        del self._running[attempt]
        self._running_of[kind] -= 1
        self.wake()

    async def _attempt(self, claim: Claim, working: Working, progress: Progress) -> None:
        job = claim.job
        _log.info("job %s (%s): attempt %d of %d", job.id, job.kind, job.attempts, job.max_attempts)
        try:
            await self._keep_lease(claim, working, progress)
            await self._settle(claim, working)
        except LeaseLost:
            _log.info("job %s was cancelled, or belongs to another worker now", job.id)
        except Exception:  # noqa: BLE001  a handler's bug costs its job an attempt, and nothing else
            _log.exception("job %s failed", job.id)
            with suppress(LeaseLost):
                await self._persist(lambda: self._store.retry(claim, CRASHED, self._delay_s(claim)))
        finally:
            working.cancel()
            (kept,) = await asyncio.gather(working, return_exceptions=True)
            if isinstance(kept, KeptResult):
                await kept.close()

    async def _keep_lease(self, claim: Claim, working: Working, progress: Progress) -> None:
        """Until the work is done and its last numbers are written. Raises `LeaseLost`."""
        written_at = time.monotonic()
        is_done = False
        while not is_done:
            await asyncio.wait([working], timeout=min(REPORT_INTERVAL_S, self._limits.heartbeat_s))
            is_done, news, now = working.done(), progress.take(), time.monotonic()
            if news is None and (is_done or now - written_at < self._limits.heartbeat_s):
                continue
            try:
                await self._write(claim, news)
                written_at = now
            except StoreUnavailable:
                if now - written_at > self._limits.lease_s:
                    raise LeaseLost from None

    async def _write(self, claim: Claim, news: tuple[int, int | None] | None) -> None:
        if news is None:
            await self._store.heartbeat(claim, self._limits.lease_s)
        else:
            await self._store.report(claim, *news, self._limits.lease_s)

    async def _settle(self, claim: Claim, working: Working) -> None:
        if working.cancelled() or isinstance(working.exception(), JobInterrupted):
            await self._persist(lambda: self._store.give_back(claim))
            return
        try:
            kept = working.result()
        except UploadsError as error:
            reason = JobError(error.code, error.message)
            if error.retryable:
                await self._persist(lambda: self._store.retry(claim, reason, self._delay_s(claim)))
            else:
                await self._persist(lambda: self._store.fail(claim, reason))
        else:
            result = None if kept is None else kept.result
            await self._persist(lambda: self._store.succeed(claim, result))

    def _delay_s(self, claim: Claim) -> float:
        return self._limits.retry_delay_s * 2.0 ** (claim.job.attempts - 1)

    async def _persist(self, write: Callable[[], Awaitable[None]]) -> None:
        """A store that is away for a moment must not cost the work; after a lease it belongs to somebody else."""
        deadline = time.monotonic() + self._limits.lease_s
        while True:
            try:
                return await write()
            except StoreUnavailable:
                if time.monotonic() > deadline or self._leaving.is_set():
                    raise LeaseLost from None
                await asyncio.sleep(STORE_RETRY_S)

    async def _expire(self) -> None:
        """First of all for what died with the last process."""
        if await self._store.expire(ABANDONED):
            self.wake()

    async def _forget(self) -> None:
        for job in await self._store.forget(time.time() - self._limits.keep_s, FORGET_BATCH):
            if job.result is not None:
                await self._results.remove(job.result)

    async def _do_chores(self) -> None:
        for chore in self._chores:
            await chore()


async def wait_for(event: asyncio.Event, timeout_s: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()
