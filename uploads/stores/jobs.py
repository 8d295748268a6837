"""`uploads.jobs.JobStore` on the database: every decision is one conditional UPDATE that says whether it was taken."""

import json
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Double,
    Index,
    Integer,
    Row,
    Table,
    Text,
    Update,
    case,
    delete,
    func,
    insert,
    literal,
    null,
    select,
    text,
    tuple_,
    update,
)

from uploads.errors import TooManyJobs
from uploads.jobs import FINAL_STATES, Cancelled, Claim, Cursor, Job, JobError, JobResult, JobState, LeaseLost
from uploads.stores.database import Database, metadata

LEASE_BYTES = 16
ADD_LOCK_KEY = 0x6A6F6273  # "jobs": on PostgreSQL only one at a time counts the queue and adds to it

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("arguments", Text, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("state", Text, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("not_before", Double, nullable=False),
    Column("lease", Text),
    Column("lease_until", Double),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("result_blob", Text),
    Column("result_filename", Text),
    Column("result_media_type", Text),
    Column("result_size", BigInteger),
)
Index("jobs_by_owner", jobs.c.owner, jobs.c.created_at, jobs.c.id)
Index("jobs_by_state", jobs.c.state, jobs.c.owner)
Index("jobs_by_result", jobs.c.result_blob, unique=True)


class DatabaseJobStore:
    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def add(self, job: Job, max_waiting: int) -> None:
        waiting = select(func.count()).select_from(jobs).where(jobs.c.state == "queued")
        async with self._database.write() as connection:
            if not self._database.is_sqlite:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADD_LOCK_KEY})
            if (await connection.execute(waiting)).scalar_one() >= max_waiting:
                raise TooManyJobs("As many jobs wait as this service keeps; try again later.")
            await connection.execute(insert(jobs).values(**row_of(job)))

    async def find(self, job_id: str, owner: str) -> Job | None:
        async with self._database.read() as connection:
            found = await connection.execute(select(jobs).where(jobs.c.id == job_id, jobs.c.owner == owner))
            row = found.one_or_none()
        return None if row is None else job_of(row)

    async def look_up(self, job_ids: Collection[str]) -> list[Job]:
        async with self._database.read() as connection:
            return [job_of(row) for row in await connection.execute(select(jobs).where(jobs.c.id.in_(job_ids)))]

    async def page(self, owner: str, state: JobState | None, after: Cursor | None, limit: int) -> list[Job]:
        place = tuple_(jobs.c.created_at, jobs.c.id)
        wanted = select(jobs).where(jobs.c.owner == owner)
        if state is not None:
            wanted = wanted.where(jobs.c.state == state)
        if after is not None:
            wanted = wanted.where(place < tuple_(literal(after.created_at), literal(after.job_id)))
        async with self._database.read() as connection:
            rows = await connection.execute(wanted.order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit))
            return [job_of(row) for row in rows]

    async def claim(self, kinds: Collection[str], lease_s: float) -> Claim | None:
        now, lease = self._clock(), secrets.token_hex(LEASE_BYTES)
        taking = (
            changing(now, jobs.c.id == next_job(now, kinds))
            .where(jobs.c.state == "queued")
            .values(state="running", attempts=jobs.c.attempts + 1, lease=lease, lease_until=now + lease_s)
            .returning(jobs)
        )
        async with self._database.write() as connection:
            row = (await connection.execute(taking)).one_or_none()
        return None if row is None else Claim(job_of(row), lease)

    async def heartbeat(self, claim: Claim, lease_s: float) -> None:
        now = self._clock()
        await self._as_holder(update(jobs).values(lease_until=now + lease_s), claim)

    async def report(self, claim: Claim, done: int, total: int | None, lease_s: float) -> None:
        now = self._clock()
        await self._as_holder(changing(now).values(done=done, total=total, lease_until=now + lease_s), claim)

    async def succeed(self, claim: Claim, result: JobResult | None) -> None:
        kept = {} if result is None else {f"result_{name}": value for name, value in asdict(result).items()}
        await self._as_holder(changing(self._clock()).values(state="succeeded", **RELEASED, **kept), claim)

    async def fail(self, claim: Claim, error: JobError) -> None:
        ended = changing(self._clock()).values(state="failed", **RELEASED, **columns_of(error))
        await self._as_holder(ended, claim)

    async def retry(self, claim: Claim, error: JobError, delay_s: float) -> None:
        now = self._clock()
        await self._as_holder(changing(now).values(not_before=now + delay_s, **again_or_failed(error)), claim)

    async def give_back(self, claim: Claim) -> None:
        back = changing(self._clock()).values(state="queued", attempts=jobs.c.attempts - 1, **RELEASED)
        await self._as_holder(back, claim)

    async def cancel(self, job_id: str, owner: str) -> Cancelled | None:
        ending = (
            changing(self._clock(), jobs.c.id == job_id, jobs.c.owner == owner)
            .where(jobs.c.state.not_in(FINAL_STATES))
            .values(state="cancelled", **RELEASED)
            .returning(jobs)
        )
        async with self._database.write() as connection:
            row = (await connection.execute(ending)).one_or_none()
        if row is not None:
            return Cancelled(job_of(row), by_this=True)
        found = await self.find(job_id, owner)
        return None if found is None else Cancelled(found, by_this=False)

    async def expire(self, error: JobError) -> int:
        now = self._clock()
        expired = changing(now, jobs.c.state == "running", jobs.c.lease_until < now)
        async with self._database.write() as connection:
            return (await connection.execute(expired.values(**again_or_failed(error)))).rowcount

    async def forget(self, before: float, limit: int) -> list[Job]:
        old = select(jobs.c.id).where(jobs.c.state.in_(FINAL_STATES), jobs.c.updated_at < before).limit(limit)
        async with self._database.write() as connection:
            rows = await connection.execute(delete(jobs).where(jobs.c.id.in_(old)).returning(jobs))
            return [job_of(row) for row in rows]

    async def known_results(self, blobs: Sequence[str]) -> set[str]:
        async with self._database.read() as connection:
            found = await connection.execute(select(jobs.c.result_blob).where(jobs.c.result_blob.in_(blobs)))
            return set(found.scalars())

    async def count(self) -> dict[JobState, int]:
        counting = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        async with self._database.read() as connection:
            return {state: number for state, number in await connection.execute(counting)}

    async def _as_holder(self, change: Update, claim: Claim) -> None:
        held = change.where(jobs.c.id == claim.job.id, jobs.c.state == "running", jobs.c.lease == claim.lease)
        async with self._database.write() as connection:
            if not (await connection.execute(held)).rowcount:
                raise LeaseLost


RELEASED = {"lease": None, "lease_until": None}


def changing(now: float, *which: ColumnElement[bool]) -> Update:
    """A change that clients see."""
    return update(jobs).where(*which).values(version=jobs.c.version + 1, updated_at=now)


def again_or_failed(error: JobError) -> dict[str, Any]:
    is_last = jobs.c.attempts >= jobs.c.max_attempts
    return {
        "state": case((is_last, "failed"), else_="queued"),
        **{name: case((is_last, value), else_=null()) for name, value in columns_of(error).items()},
        **RELEASED,
    }


def next_job(now: float, kinds: Collection[str]) -> Any:
    """Who has the fewest running goes first. On PostgreSQL a row that another is just taking is stepped over."""
    others = jobs.alias("others")
    running = (
        select(func.count())
        .select_from(others)
        .where(others.c.owner == jobs.c.owner, others.c.state == "running")
        .scalar_subquery()
    )
    waiting = select(jobs.c.id).where(jobs.c.state == "queued", jobs.c.not_before <= now, jobs.c.kind.in_(kinds))
    first = waiting.order_by(running, jobs.c.created_at, jobs.c.id).limit(1)
    return first.with_for_update(skip_locked=True).scalar_subquery()


def columns_of(error: JobError) -> dict[str, str]:
    return {"error_code": error.code, "error_message": error.message}


def row_of(job: Job) -> dict[str, Any]:
    plain = ("id", "owner", "kind", "max_attempts", "created_at", "updated_at", "state", "done", "total")
    return {
        **{name: getattr(job, name) for name in (*plain, "attempts", "version")},
        "arguments": json.dumps(job.arguments),
        "not_before": job.created_at,
    }


def job_of(row: Row[Any]) -> Job:
    return Job(
        id=row.id,
        owner=row.owner,
        kind=row.kind,
        arguments=json.loads(row.arguments),
        max_attempts=row.max_attempts,
        created_at=row.created_at,
        updated_at=row.updated_at,
        state=row.state,
        done=row.done,
        total=row.total,
        attempts=row.attempts,
        version=row.version,
        error=None if row.error_code is None else JobError(row.error_code, row.error_message),
        result=None if row.result_blob is None else result_of(row),
    )


def result_of(row: Row[Any]) -> JobResult:
    return JobResult(row.result_blob, row.result_filename, row.result_media_type, row.result_size)
