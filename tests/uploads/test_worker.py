import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.uploads.workplace import Workplace, eventually, workplace
from uploads.errors import BodyStalled, ProcessingCrashed, StoreUnavailable
from uploads.jobs import Claim, Job, JobResult
from uploads.results import Produced, Results
from uploads.stores.jobs import DatabaseJobStore
from uploads.worker import JobInterrupted, Report


@pytest.fixture
async def place(tmp_path: Path, database_url: str) -> AsyncIterator[Workplace]:
    async with workplace(database_url, tmp_path) as opened:
        yield opened


class Steps:
    """A handler that says when it was entered, and waits until it is told to go on."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.attempts = 0

    async def __call__(self, job: Job, report: Report) -> None:
        self.attempts += 1
        self.entered.set()
        await self.may_go_on.wait()


def file_of(place: Workplace, job: Job, text: str) -> Produced:
    path = place.folder / "work" / job.id
    path.write_text(text)
    return Produced(path, "answer.txt", "text/plain")


async def test_a_job_is_done_and_its_result_is_kept(place: Workplace) -> None:
    async def answer(job: Job, report: Report) -> Produced:
        report(1, 2)
        report(2, 2)
        return file_of(place, job, job.arguments["text"])

    async with place.working({"work": answer}):
        ended = await place.ended(await place.add(text="whole"))
    assert (ended.state, ended.done, ended.total, ended.attempts) == ("succeeded", 2, 2, 1)
    assert await place.content(ended) == b"whole"
    assert ended.result == JobResult(ended.result.blob if ended.result else "", "answer.txt", "text/plain", 5)
    assert not (place.folder / "work" / ended.id).exists()


async def test_progress_is_seen_while_it_works(place: Workplace) -> None:
    may_end = asyncio.Event()

    async def count(job: Job, report: Report) -> None:
        report(7, 9)
        await may_end.wait()

    async with place.working({"work": count}):
        job = await place.add()

        async def is_seen() -> bool:
            return (await place.now(job)).done == 7

        await eventually(is_seen)
        may_end.set()
        assert (await place.ended(job)).result is None


async def test_an_error_of_ours_fails_the_job_at_once_with_its_code(place: Workplace) -> None:
    async def refuse(job: Job, report: Report) -> None:
        raise ProcessingCrashed("The file cannot be processed.")

    async with place.working({"work": refuse}):
        ended = await place.ended(await place.add())
    assert (ended.state, ended.attempts) == ("failed", 1)
    assert ended.error is not None
    assert ended.error.code == "processing_crashed"


async def test_a_retryable_error_is_tried_again_and_its_last_reason_stays(place: Workplace) -> None:
    async def stall(job: Job, report: Report) -> None:
        raise BodyStalled("Nothing came.")

    async with place.working({"work": stall}):
        ended = await place.ended(await place.add(max_attempts=2))
    assert (ended.state, ended.attempts) == ("failed", 2)
    assert ended.error is not None
    assert ended.error.code == "body_stalled"


async def test_a_bug_costs_attempts_and_its_words_are_only_logged(
    place: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    async def break_down(job: Job, report: Report) -> None:
        raise ZeroDivisionError("secret words")

    with caplog.at_level(logging.ERROR, "headwater.jobs"):
        async with place.working({"work": break_down}):
            ended = await place.ended(await place.add(max_attempts=2))
    assert (ended.state, ended.attempts) == ("failed", 2)
    assert ended.error is not None
    assert ended.error.code == "job_crashed"
    assert "secret" not in ended.error.message
    assert len([record for record in caplog.records if record.exc_info]) == 2


async def test_one_bad_job_does_not_stop_the_next(place: Workplace) -> None:
    async def sometimes(job: Job, report: Report) -> None:
        if job.arguments.get("bad"):
            raise ZeroDivisionError

    async with place.working({"work": sometimes}, max_running=1):
        bad, good = await place.add(bad=True, max_attempts=1), await place.add()
        assert (await place.ended(bad)).state == "failed"
        assert (await place.ended(good)).state == "succeeded"


async def test_a_cancelled_job_stops_its_handler_and_leaves_no_result(place: Workplace) -> None:
    has_stopped = asyncio.Event()
    steps = Steps()

    async def work(job: Job, report: Report) -> Produced:
        produced = file_of(place, job, "never to be seen")
        try:
            await steps(job, report)
        finally:
            has_stopped.set()
        return produced

    async with place.working({"work": work}):
        job = await place.add()
        await steps.entered.wait()
        await place.store.cancel(job.id, job.owner)
        await asyncio.wait_for(has_stopped.wait(), 20)
    assert (await place.now(job)).state == "cancelled"
    assert place.result_files() == []


async def test_a_cancel_between_the_result_and_the_end_leaves_no_file(place: Workplace) -> None:
    class CancelledFirst(DatabaseJobStore):
        async def succeed(self, claim: Claim, result: JobResult | None) -> None:
            await self.cancel(claim.job.id, claim.job.owner)
            assert place.result_files() == [result.blob if result else ""], (
                "the file is whole before the end is written"
            )
            await super().succeed(claim, result)

    assert isinstance(place.store, DatabaseJobStore)
    store = CancelledFirst(place.store._database)
    place.store, place.results = store, Results(place.results._blobs, store)

    async def answer(job: Job, report: Report) -> Produced:
        return file_of(place, job, "late")

    async with place.working({"work": answer}):
        ended = await place.ended(await place.add())
    assert (ended.state, ended.result) == ("cancelled", None)
    assert place.result_files() == []


async def test_a_drained_worker_lets_a_short_job_end(place: Workplace) -> None:
    steps = Steps()
    async with place.working({"work": steps}, grace_s=20):
        job = await place.add()
        await steps.entered.wait()
        asyncio.get_running_loop().call_later(0.1, steps.may_go_on.set)
    assert (await place.now(job)).state == "succeeded"


async def test_a_drained_worker_gives_back_what_does_not_end_in_time(place: Workplace) -> None:
    steps = Steps()
    async with place.working({"work": steps}):
        job = await place.add()
        await steps.entered.wait()
    back = await place.now(job)
    assert (back.state, back.attempts) == ("queued", 0)
    steps.may_go_on.set()
    async with place.working({"work": steps}):
        assert (await place.ended(job)).attempts == 1


async def test_a_handler_that_cannot_go_on_here_loses_no_attempt(place: Workplace) -> None:
    attempts = []

    async def interrupted_once(job: Job, report: Report) -> None:
        attempts.append(job.attempts)
        if len(attempts) == 1:
            raise JobInterrupted

    async with place.working({"work": interrupted_once}):
        assert (await place.ended(await place.add())).state == "succeeded"
    assert attempts == [1, 1]


async def test_a_job_of_a_dead_worker_is_done_by_the_next(place: Workplace) -> None:
    job = await place.add()
    assert await place.store.claim(["work"], lease_s=0.2) is not None
    steps = Steps()
    steps.may_go_on.set()
    async with place.working({"work": steps}):
        ended = await place.ended(job)
    assert (ended.state, ended.attempts) == ("succeeded", 2)


async def test_a_job_that_kills_each_worker_ends_as_failed(place: Workplace) -> None:
    job = await place.add(max_attempts=1)
    assert await place.store.claim(["work"], lease_s=0.2) is not None
    async with place.working({"work": Steps()}):
        ended = await place.ended(job)
    assert ended.error is not None
    assert (ended.state, ended.error.code) == ("failed", "job_abandoned")


async def test_a_long_job_keeps_its_lease(place: Workplace) -> None:
    steps = Steps()
    async with place.working({"work": steps}, lease_s=0.3, heartbeat_s=0.05):
        job = await place.add()
        started = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < started + 1.0:  # three leases
            assert (await place.now(job)).attempts <= 1
            await asyncio.sleep(0.02)
        steps.may_go_on.set()
        assert (await place.ended(job)).attempts == 1
    assert steps.attempts == 1


async def test_only_so_many_run_at_once_and_a_free_place_is_taken_at_once(place: Workplace) -> None:
    running: set[str] = set()
    all_places_taken = asyncio.Event()
    most = 0

    async def note(job: Job, report: Report) -> None:
        nonlocal most
        running.add(job.id)
        most = max(most, len(running))
        if most == 3:
            all_places_taken.set()
        await all_places_taken.wait()
        running.discard(job.id)

    async with place.working({"work": note}, max_running=3, poll_s=60) as worker:
        jobs = [await place.add() for _ in range(12)]
        worker.wake()
        for job in jobs:
            await place.ended(job)
    assert most == 3


async def test_jobs_of_one_kind_do_not_keep_another_kind_waiting(place: Workplace) -> None:
    long, short = Steps(), Steps()
    short.may_go_on.set()
    async with place.working({"long": long, "short": short}, max_running=1):
        jobs = [await place.add("long") for _ in range(3)]
        await long.entered.wait()
        assert (await place.ended(await place.add("short"))).state == "succeeded"
        assert sorted([(await place.now(job)).state for job in jobs]) == ["queued", "queued", "running"]


async def test_a_store_that_is_away_at_the_end_does_not_cost_the_work(place: Workplace) -> None:
    class AwayTwice(DatabaseJobStore):
        failures = 2

        async def succeed(self, claim: Claim, result: JobResult | None) -> None:
            if self.failures:
                self.failures -= 1
                raise StoreUnavailable("The database does not answer; try again.")
            await super().succeed(claim, result)

    assert isinstance(place.store, DatabaseJobStore)
    place.store = AwayTwice(place.store._database)
    steps = Steps()
    steps.may_go_on.set()
    async with place.working({"work": steps}, lease_s=10):
        ended = await place.ended(await place.add())
    assert (ended.state, steps.attempts) == ("succeeded", 1)


async def test_a_commit_that_was_not_heard_of_keeps_its_result(place: Workplace) -> None:
    class Deaf(DatabaseJobStore):
        """The first success is stored, but the answer is lost on its way."""

        has_lost = False

        async def succeed(self, claim: Claim, result: JobResult | None) -> None:
            await super().succeed(claim, result)
            if not self.has_lost:
                self.has_lost = True
                raise StoreUnavailable("The database does not answer; try again.")

    assert isinstance(place.store, DatabaseJobStore)
    place.store = Deaf(place.store._database)

    async def answer(job: Job, report: Report) -> Produced:
        return file_of(place, job, "whole")

    async with place.working({"work": answer}, lease_s=10):
        ended = await place.ended(await place.add())
    assert await place.content(ended) == b"whole"


async def test_old_jobs_go_with_their_results(place: Workplace) -> None:
    async def answer(job: Job, report: Report) -> Produced:
        return file_of(place, job, "old")

    async with place.working({"work": answer}):
        job = await place.ended(await place.add())
    assert len(place.result_files()) == 1

    async def is_forgotten() -> bool:
        return await place.store.find(job.id, job.owner) is None and place.result_files() == []

    async with place.working({"work": answer}, keep_s=0):
        await eventually(is_forgotten)


async def test_files_that_no_job_has_are_swept(place: Workplace) -> None:
    (place.folder / "results" / "left_behind").write_text("half")

    async def is_gone() -> bool:
        return place.result_files() == []

    async with place.working({}):
        await eventually(is_gone)
