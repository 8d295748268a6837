"""`GET /metrics`: what a Prometheus server reads."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

from fastapi import APIRouter, Request
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response

from service.metrics.metrics import Metrics
from service.metrics.moment import moment_of, text_of
from service.settings import Settings
from streaming.backend import Backend
from uploads.errors import UploadsError
from uploads.job_backend import JobsBackend
from uploads.jobs import JobState

router = APIRouter(tags=["health"])
_log = logging.getLogger("headwater.metrics")


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}}},
)
async def metrics(request: Request) -> Response:
    """What has been counted, and how things are now. docs/metrics.md lists every name."""
    counted: Metrics = request.app.state.metrics
    settings: Settings = request.app.state.settings
    backend: Backend = request.state.backend
    background: JobsBackend = request.state.jobs
    jobs = await count_jobs(background.store, settings.metrics_timeout_s)
    moment = moment_of(request.state.fleet, backend.streams, jobs)
    text = await asyncio.to_thread(text_of, counted.registry, moment)
    return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)


class CountsJobs(Protocol):
    async def count(self) -> Mapping[JobState, int]: ...


async def count_jobs(store: CountsJobs, timeout_s: float) -> Mapping[JobState, int] | None:
    """None when the database does not answer in time."""
    try:
        async with asyncio.timeout(timeout_s):
            return await store.count()
    except (TimeoutError, UploadsError) as error:
        _log.warning("jobs could not be counted: %s", type(error).__name__)
        return None
