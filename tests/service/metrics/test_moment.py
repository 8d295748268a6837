"""A scrape whose database does not answer."""

import asyncio
from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from service.metrics.moment import Moment, text_of
from service.routes.metrics import count_jobs
from tests.service.metrics.scrape import Scraped
from uploads.jobs import JobState


class StuckStore:
    """Of a `JobStore` only what a scrape asks."""

    async def count(self) -> Mapping[JobState, int]:
        await asyncio.Event().wait()
        return {}


async def test_jobs_that_cannot_be_counted_are_left_out() -> None:
    jobs = await count_jobs(StuckStore(), timeout_s=0.01)
    now = Scraped(text_of(CollectorRegistry(), Moment(1, 2, 3, {"a": "v"}, {"a": 0}, jobs)).decode())
    assert "headwater_jobs" not in now.families
    assert now.value("generations_waiting") == 2
