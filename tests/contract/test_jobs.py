"""The contract of `uploads.jobs.JobStore`, on every database."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from uploads.errors import TooManyJobs
from uploads.jobs import Claim, Cursor, Job, JobError, JobResult, JobStore, LeaseLost, new_job_id
from uploads.stores.database import open_database
from uploads.stores.jobs import DatabaseJobStore

LEASE_S = 30.0
BROKEN = JobError("broken", "It broke.")
ABANDONED = JobError("abandoned", "The worker died.")
RESULT = JobResult("r1.csv", "predictions.csv", "text/csv", 12)


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(database_url: str, clock: Clock) -> AsyncIterator[JobStore]:
    database = await open_database(database_url)
    yield DatabaseJobStore(database, clock)
    await database.close()


def make(clock: Clock, **fields: Any) -> Job:
    made = Job(new_job_id(), "ann", "batch", {"file": "ü\u2028"}, 3, clock.now, clock.now)
    return replace(made, **fields)


async def added(store: JobStore, clock: Clock, **fields: Any) -> Job:
    job = make(clock, **fields)
    await store.add(job, max_waiting=1000)
    clock.now += 1
    return job


async def claimed(store: JobStore) -> Claim:
    claim = await store.claim(["batch"], LEASE_S)
    assert claim is not None
    return claim


async def found(store: JobStore, job: Job) -> Job:
    kept = await store.find(job.id, job.owner)
    assert kept is not None
    return kept


async def test_a_job_is_kept_as_it_was_made(store: JobStore, clock: Clock) -> None:
    job = await added(store, clock)
    assert await found(store, job) == job
    assert await store.look_up([job.id, "j0"]) == [job]


async def test_somebody_elses_job_is_like_none(store: JobStore, clock: Clock) -> None:
    job = await added(store, clock)
    assert await store.find(job.id, "bob") is None
    assert await store.cancel(job.id, "bob") is None
    assert await store.page("bob", None, None, 10) == []
    assert (await found(store, job)).state == "queued"


async def test_a_full_queue_refuses_and_running_jobs_do_not_count(store: JobStore, clock: Clock) -> None:
    await store.add(make(clock), max_waiting=1)
    with pytest.raises(TooManyJobs):
        await store.add(make(clock, owner="bob"), max_waiting=1)
    await claimed(store)
    await store.add(make(clock), max_waiting=1)


async def test_many_who_add_at_once_do_not_overfill_the_queue(store: JobStore, clock: Clock) -> None:
    answers = await asyncio.gather(*(store.add(make(clock), max_waiting=5) for _ in range(20)), return_exceptions=True)
    assert Counter(type(answer) for answer in answers) == {type(None): 5, TooManyJobs: 15}


async def test_claims_take_the_oldest_job_of_who_has_the_fewest_running(store: JobStore, clock: Clock) -> None:
    first, second, third = [await added(store, clock) for _ in range(3)]
    other = await added(store, clock, owner="bob")
    taken = [(await claimed(store)).job.id for _ in range(4)]
    assert taken == [first.id, other.id, second.id, third.id]
    assert await store.claim(["batch"], LEASE_S) is None


async def test_a_worker_gets_only_kinds_it_can_do(store: JobStore, clock: Clock) -> None:
    await added(store, clock, kind="ingest")
    assert await store.claim(["batch"], LEASE_S) is None
    assert await store.claim(["batch", "ingest"], LEASE_S) is not None


async def test_a_job_is_claimed_once_by_many_who_try_at_once(store: JobStore, clock: Clock) -> None:
    jobs = [await added(store, clock) for _ in range(10)]
    claims = [claim for claim in await asyncio.gather(*(store.claim(["batch"], LEASE_S) for _ in range(30))) if claim]
    while len(claims) < len(jobs):  # who collides may come back without one, as long as it is asked again
        claims.append(await claimed(store))
    assert sorted(claim.job.id for claim in claims) == sorted(job.id for job in jobs)
    assert {claim.job.attempts for claim in claims} == {1}


async def test_progress_is_seen_and_each_change_has_a_higher_version(store: JobStore, clock: Clock) -> None:
    job = await added(store, clock)
    versions = [job.version]
    claim = await claimed(store)
    versions.append(claim.job.version)
    await store.report(claim, 3, 10, LEASE_S)
    seen = await found(store, job)
    versions.append(seen.version)
    assert (seen.state, seen.done, seen.total, seen.updated_at) == ("running", 3, 10, clock.now)
    await store.succeed(claim, RESULT)
    versions.append((await found(store, job)).version)
    assert versions == sorted(set(versions))


async def test_a_heartbeat_shows_nothing_and_keeps_the_lease(store: JobStore, clock: Clock) -> None:
    job = await added(store, clock)
    claim = await claimed(store)
    for _ in range(3):
        clock.now += LEASE_S - 1
        await store.heartbeat(claim, LEASE_S)
        assert await store.expire(ABANDONED) == 0
    assert (await found(store, job)).version == claim.job.version


async def test_success_keeps_the_result(store: JobStore, clock: Clock) -> None:
    job = await added(store, clock)
    await store.succeed(await claimed(store), RESULT)
    ended = await found(store, job)
    assert (ended.state, ended.result, ended.error) == ("succeeded", RESULT, None)
    assert await store.known_results(["r1.csv", "r2.csv"]) == {"r1.csv"}


async def test_failure_keeps_the_reason_and_has_no_result(store: JobStore, clock: Clock) -> None:
    job = await added(store, clock)
    await store.fail(await claimed(store), BROKEN)
    ended = await found(store, job)
    assert (ended.state, ended.result, ended.error) == ("failed", None, BROKEN)


async def test_a_retry_waits_and_the_last_attempt_fails_with_the_reason(store: JobStore, clock: Clock) -> None:
    job = await added(store, clock, max_attempts=2)
    await store.retry(await claimed(store), BROKEN, delay_s=10)
    again = await found(store, job)
    assert (again.state, again.attempts, again.error) == ("queued", 1, None)
    assert await store.claim(["batch"], LEASE_S) is None
    clock.now += 10
    await store.retry(await claimed(store), BROKEN, delay_s=10)
    ended = await found(store, job)
    assert (ended.state, ended.attempts, ended.error) == ("failed", 2, BROKEN)


async def test_an_expired_lease_queues_the_job_until_its_attempts_are_used_up(store: JobStore, clock: Clock) -> None:
    job = await added(store, clock, max_attempts=2)
    await claimed(store)
    clock.now += LEASE_S + 1
    assert await store.expire(ABANDONED) == 1
    assert (await found(store, job)).state == "queued"
    await claimed(store)
    clock.now += LEASE_S + 1
    assert await store.expire(ABANDONED) == 1
    ended = await found(store, job)
    assert (ended.state, ended.error) == ("failed", ABANDONED)
    assert await store.expire(ABANDONED) == 0


async def test_a_job_given_back_is_there_at_once_and_has_lost_no_attempt(store: JobStore, clock: Clock) -> None:
    await added(store, clock)
    await store.give_back(await claimed(store))
    assert (await claimed(store)).job.attempts == 1


Act = Callable[[JobStore, Claim], Awaitable[None]]
ACTS: dict[str, Act] = {
    "heartbeat": lambda store, claim: store.heartbeat(claim, LEASE_S),
    "report": lambda store, claim: store.report(claim, 1, 2, LEASE_S),
    "succeed": lambda store, claim: store.succeed(claim, RESULT),
    "fail": lambda store, claim: store.fail(claim, BROKEN),
    "retry": lambda store, claim: store.retry(claim, BROKEN, 0),
    "give_back": lambda store, claim: store.give_back(claim),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
async def test_who_lost_the_lease_changes_nothing(store: JobStore, clock: Clock, act: Act) -> None:
    job = await added(store, clock)
    late = await claimed(store)
    clock.now += LEASE_S + 1
    await store.expire(ABANDONED)
    with pytest.raises(LeaseLost):
        await act(store, late)
    await claimed(store)
    before = await found(store, job)
    with pytest.raises(LeaseLost):
        await act(store, late)
    assert await found(store, job) == before


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
@pytest.mark.parametrize("end", ["cancelled", "succeeded", "failed"])
async def test_nothing_changes_a_job_that_has_ended(store: JobStore, clock: Clock, act: Act, end: str) -> None:
    job = await added(store, clock)
    claim = await claimed(store)
    if end == "cancelled":
        await store.cancel(job.id, job.owner)
    else:
        await (store.succeed(claim, RESULT) if end == "succeeded" else store.fail(claim, BROKEN))
    before = await found(store, job)
    assert before.state == end
    with pytest.raises(LeaseLost):
        await act(store, claim)
    cancelled = await store.cancel(job.id, job.owner)
    assert cancelled is not None
    assert not cancelled.by_this
    assert await found(store, job) == before


async def test_a_waiting_job_that_is_cancelled_is_never_claimed(store: JobStore, clock: Clock) -> None:
    job = await added(store, clock)
    cancelled = await store.cancel(job.id, job.owner)
    assert cancelled is not None
    assert (cancelled.by_this, cancelled.job.state) == (True, "cancelled")
    assert await store.claim(["batch"], LEASE_S) is None


async def test_of_a_success_and_a_cancel_at_once_exactly_one_wins(store: JobStore, clock: Clock) -> None:
    for number in range(20):
        job = await added(store, clock)
        claim = await claimed(store)
        result = replace(RESULT, blob=f"{number}.csv")
        succeeded, cancelled = await asyncio.gather(
            store.succeed(claim, result), store.cancel(job.id, job.owner), return_exceptions=True
        )
        assert not isinstance(cancelled, BaseException | None)
        ended = await found(store, job)
        assert cancelled.by_this == isinstance(succeeded, LeaseLost)
        assert ended.state == ("cancelled" if cancelled.by_this else "succeeded")
        assert (ended.result is None) == cancelled.by_this


async def test_pages_go_from_the_newest_to_the_oldest_without_a_hole(store: JobStore, clock: Clock) -> None:
    jobs = [await added(store, clock, owner="ann" if number % 3 else "bob") for number in range(9)]
    clock.now -= 1
    jobs.extend([await added(store, clock), await added(store, clock, created_at=clock.now - 1)])  # at one moment
    seen: list[Job] = []
    after = None
    while page := await store.page("ann", None, after, 2):
        seen.extend(page)
        after = Cursor(page[-1].created_at, page[-1].id)
    wanted = sorted((job for job in jobs if job.owner == "ann"), key=lambda job: (job.created_at, job.id), reverse=True)
    assert [job.id for job in seen] == [job.id for job in wanted]


async def test_a_page_can_be_of_one_state(store: JobStore, clock: Clock) -> None:
    first, second = await added(store, clock), await added(store, clock)
    await claimed(store)
    assert [job.id for job in await store.page("ann", "running", None, 10)] == [first.id]
    assert [job.id for job in await store.page("ann", "queued", None, 10)] == [second.id]
    assert await store.count() == {"running": 1, "queued": 1}


async def test_only_old_ended_jobs_are_forgotten(store: JobStore, clock: Clock) -> None:
    ended, running, waiting = [await added(store, clock) for _ in range(3)]
    await store.succeed(await claimed(store), RESULT)
    await claimed(store)
    assert await store.forget(before=clock.now, limit=10) == []
    clock.now += 100
    forgotten = await store.forget(before=clock.now, limit=10)
    assert [(job.id, job.result) for job in forgotten] == [(ended.id, RESULT)]
    assert await store.find(ended.id, "ann") is None
    assert {job.id for job in await store.page("ann", None, None, 10)} == {running.id, waiting.id}
