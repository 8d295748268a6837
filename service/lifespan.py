"""Opens what the service needs, in order, and closes it in reverse. The only place that names a concrete engine."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

from fastapi import FastAPI

from service.access.opening import open_access
from service.access.rules import Rules
from service.answers import Answers
from service.batch_rows import RowPredictor
from service.batching import Batches, BatchLimits
from service.cache import AnswerCache
from service.documents import make_recognition, open_library, open_search_backend, with_recognition
from service.drain import Drain
from service.generation_log import GenerationLog
from service.grounding import GroundingLimits, LibraryGrounding
from service.jobs import make_jobs, open_jobs_backend
from service.limits.limiter import Limiter
from service.limits.tokens import TokenMeter
from service.metrics import loop_lag
from service.metrics.generations import GenerationObserver
from service.metrics.metrics import Metrics
from service.metrics.uploads import UploadObserver
from service.models.fleet import Fleet, entries_of
from service.one_shot_rows import ModelRows, OneShotRows, check_of
from service.priority import raise_own
from service.settings import MIB, Settings
from service.storage import open_storage
from streaming.backend import Backend
from streaming.errors import ShuttingDown
from streaming.limits import Pace, RequestLimits
from streaming.log import Observer, Observers, Unobserved
from streaming.logs.memory import MemoryLog, Waker
from streaming.predictor import Predictor
from streaming.reading import ReadingLimits, Readings
from streaming.streams import Retention, Streams
from uploads.backend import UploadsBackend
from uploads.errors import UploadsClosing
from uploads.job_backend import JobsBackend
from uploads.library import Library
from uploads.search_routes import SearchBackend
from uploads.uploads import Uploads
from uploads.worker import Worker

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


class State(TypedDict):
    """What every request finds in `request.state`."""

    backend: Backend
    fleet: Fleet
    uploads: UploadsBackend
    jobs: JobsBackend
    search: SearchBackend
    answers: Answers


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    raise_own()
    settings: Settings = app.state.settings
    drain: Drain = app.state.drain
    counted: Metrics = app.state.metrics
    recognition = make_recognition(settings.documents)
    load = with_recognition(app.state.load, recognition)
    fleet = Fleet(settings, partial(entries_of, settings), load, lambda how: counted.model_reloads.labels(how).inc())
    fleet.start()
    app.state.on_hangup.append(fleet.reload_all_soon)
    await asyncio.sleep(0)  # the first model is on its way before anything else is imported
    streams = open_streams(settings, observers_of(counted, app.state.tracer, app.state.limiter))
    async with (
        open_storage(settings, UploadObserver(counted)) as storage,
        open_library(settings, storage, fleet, recognition) as library,
        open_access(settings, storage.access, app.state.on_hangup.append) as access,
    ):
        app.state.access = access
        app.state.fleet = fleet
        app.state.rules = Rules(app.routes, app.state.policies)
        background_log = open_log(partial(GenerationObserver, counted, is_background=True))
        answers = open_answers(settings, counted)
        predict_row = open_rows(settings, fleet, background_log, answers)
        jobs = make_jobs(settings, storage, library, predict_row)
        readings = open_readings(settings, storage.uploads, library)
        backend = open_backend(settings, streams, fleet, readings, drain, counted=counted)
        finish = partial(finish_answers, fleet, readings)
        tasks = [
            start(streams.sweep_forever()),
            start(loop_lag.measure_forever(counted.loop_lag_s.observe)),
            start(storage.uploads.sweep_forever(settings.uploads.sweep_interval_s)),
            start(jobs.watch.run()),
            start(leave(drain, finish, answers, storage.uploads, jobs.worker, grace_s=settings.shutdown_grace_s)),
        ]
        working = start(jobs.worker.run()) if settings.jobs.run_here else None
        try:
            yield {
                "backend": backend,
                "fleet": fleet,
                "uploads": open_uploads_backend(settings, storage.uploads, library, drain),
                "jobs": open_jobs_backend(
                    settings, storage, jobs, check_model=check_of(fleet.kind_of, backend.find_predictor)
                ),
                "search": open_search_backend(settings, library),
                "answers": answers,
            }
        finally:
            await jobs.worker.drain(grace_s=0)
            if working is not None:
                await working
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await finish(grace_s=0)
            await answers.close(grace_s=0)


def observers_of(counted: Metrics, tracer: "Tracer | None", limiter: Limiter | None) -> Callable[[], Observer]:
    """Of each generation that somebody asks for: counted, written down, and charged and traced where that is on."""
    makers: list[Callable[[], Observer]] = [partial(GenerationObserver, counted), GenerationLog]
    if limiter is not None:
        makers.append(partial(TokenMeter, limiter, asyncio.get_running_loop()))
    if tracer is not None:
        from service.tracing import GenerationSpans  # noqa: PLC0415  an extra, which costs nothing while it is off

        makers.append(partial(GenerationSpans, tracer))
    return lambda: Observers(*(make() for make in makers))


def open_streams(settings: Settings, observer: Callable[[], Observer]) -> Streams:
    retention = Retention(
        first_reader_grace_s=settings.first_reader_grace_s,
        ticket_ttl_s=settings.ticket_ttl_s,
        finished_log_ttl_s=settings.finished_log_ttl_s,
        finished_logs_max_bytes=int(settings.finished_logs_max_mib * MIB),
    )
    return Streams(open_log(observer), retention)


def open_log(observer: Callable[[], Observer] = Unobserved) -> Callable[[], MemoryLog]:
    """Makes logs that are read on the running loop, each with an observer of its own."""
    waker = Waker(asyncio.get_running_loop())
    return lambda: MemoryLog(waker, observer())


def open_readings(settings: Settings, uploads: Uploads, library: Library) -> Readings:
    given = settings.file_chat
    grounding = LibraryGrounding(
        uploads, library, GroundingLimits(given.max_citations, settings.documents.max_query_chars)
    )
    limits = ReadingLimits(
        max_reading=given.max_reading,
        max_waiting=given.max_waiting,
        read_timeout_s=given.read_timeout_s,
        cite_timeout_s=given.cite_timeout_s,
        room_tokens=given.room_tokens,
    )
    return Readings(grounding, limits)


def open_backend(
    settings: Settings, streams: Streams, fleet: Fleet, readings: Readings, drain: Drain, *, counted: Metrics
) -> Backend:
    def find_predictor(name: str) -> Predictor:
        if drain.is_started:
            raise ShuttingDown("The service is shutting down and takes no new work.")
        return fleet.language(name)

    limits = RequestLimits(
        max_prompt_chars=settings.max_prompt_chars,
        max_messages=settings.max_messages,
        max_stop_strings=settings.max_stop_strings,
        max_stop_chars=settings.max_stop_chars,
        max_logit_bias=settings.max_logit_bias,
        max_logprobs=settings.max_logprobs,
        max_grace_s=settings.max_grace_s,
        max_upload_ids=settings.file_chat.max_files,
    )
    pace = Pace(settings.heartbeat_s, settings.send_timeout_s)
    return Backend(streams, find_predictor, readings, limits, pace, counted.resumes.inc)


def open_answers(settings: Settings, counted: Metrics) -> Answers:
    limits = BatchLimits(
        wait_s=settings.batch_wait_ms / 1000,
        max_items=settings.batch_max_items,
        max_waiting=settings.batch_max_waiting,
        timeout_s=settings.batch_timeout_s,
    )
    batches = Batches(limits, counted.batch_items.observe)
    cache = AnswerCache(int(settings.cache_max_mib * MIB), settings.cache_ttl_s)
    return Answers(batches, cache, counted, max_items=limits.max_items, is_shared=settings.cache_shared)


def open_rows(settings: Settings, fleet: Fleet, make_log: Callable[[], MemoryLog], answers: Answers) -> ModelRows:
    language = RowPredictor(fleet.language, make_log, settings.max_prompt_chars)
    return ModelRows(fleet.kind_of, language, OneShotRows(fleet.one_shot, answers.answer))


def open_uploads_backend(settings: Settings, uploads: Uploads, library: Library, drain: Drain) -> UploadsBackend:
    def refuse_when_leaving() -> None:
        if drain.is_started:
            raise UploadsClosing("The service is shutting down and takes no new files.")

    return UploadsBackend(uploads, library.delete, refuse_when_leaving, settings.send_timeout_s)


async def leave(
    drain: Drain,
    finish: Callable[[float], Awaitable[None]],
    answers: Answers,
    uploads: Uploads,
    worker: Worker,
    *,
    grace_s: float,
) -> None:
    """What runs may finish within the grace: answers, files that are being received, jobs that need no model."""
    await drain.wait_started()
    await asyncio.gather(
        finish(grace_s), answers.wait_until_idle(grace_s), uploads.wait_until_idle(grace_s), worker.drain(grace_s)
    )
    drain.finish()


async def finish_answers(fleet: Fleet, readings: Readings, grace_s: float) -> None:
    """First those that still read their files, since they need an engine afterwards."""
    ends_at = time.monotonic() + grace_s
    await readings.finish_reading(grace_s)
    await fleet.close(max(ends_at - time.monotonic(), 0.0))
    await readings.finish_citing()


def start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(work)
