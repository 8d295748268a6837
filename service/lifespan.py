"""Opens what the service needs, in order, and closes it in reverse. The only place that names a concrete engine."""

import asyncio
import gc
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeAlias, TypedDict

from fastapi import FastAPI

from service.answers import Answers
from service.batch_rows import RowPredictor
from service.batching import Batches, BatchLimits
from service.cache import AnswerCache
from service.documents import open_library, open_picture_model, open_search_backend
from service.drain import Drain
from service.grounding import GroundingLimits, LibraryGrounding
from service.jobs import make_jobs, open_jobs_backend
from service.metrics import loop_lag
from service.metrics.generations import GenerationObserver
from service.metrics.metrics import Metrics
from service.metrics.uploads import UploadObserver
from service.models.config import ModelEntry, language_models, pull_command
from service.models.errors import ModelsError
from service.models.registry import Loaded, Model, NotLoaded, Registry
from service.models.store import ModelStore, PreparedModel
from service.predictors.picture import PictureModel
from service.settings import MIB, Settings
from service.storage import open_storage
from streaming.backend import Backend
from streaming.engines.echo import EchoEngine, EchoPredictor, EchoSpeed
from streaming.errors import EngineDown, ShuttingDown, StreamingError
from streaming.limits import Pace, RequestLimits
from streaming.log import Observer, Unobserved
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

LOADER_THREAD = "load-models"
ECHO_MODEL = "default"
Load: TypeAlias = Callable[[ModelEntry | None, Settings], Predictor]
_log = logging.getLogger("headwater.models")


class State(TypedDict):
    """What every request finds in `request.state`."""

    backend: Backend
    registry: Registry
    uploads: UploadsBackend
    jobs: JobsBackend
    search: SearchBackend
    pictures: PictureModel
    answers: Answers


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    settings: Settings = app.state.settings
    drain: Drain = app.state.drain
    entries = entries_of(settings)
    registry = Registry(list(entries))
    counted: Metrics = app.state.metrics
    streams = open_streams(settings, counted)
    load_in_background(entries, settings, registry, app.state.load)
    async with (
        open_storage(settings, UploadObserver(counted)) as storage,
        open_library(settings, storage) as library,
        open_picture_model(settings) as pictures,
    ):
        background_log = open_log(partial(GenerationObserver, counted, is_background=True))
        predict_row = RowPredictor(registry, background_log, settings.max_prompt_chars)
        jobs = make_jobs(settings, storage, library, predict_row)
        readings = open_readings(settings, storage.uploads, library)
        backend = open_backend(settings, streams, registry, readings, drain, counted=counted)
        finish = partial(finish_answers, registry, readings)
        answers = open_answers(settings, counted)
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
                "registry": registry,
                "uploads": open_uploads_backend(settings, storage.uploads, library, drain),
                "jobs": open_jobs_backend(settings, storage, jobs, check_model=backend.find_predictor),
                "search": open_search_backend(settings, library),
                "pictures": pictures,
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


def entries_of(settings: Settings) -> dict[str, ModelEntry | None]:
    """The models to load. Raises `ModelsError`. The echo engine needs no entry."""
    if settings.engine == "echo":
        return {ECHO_MODEL: None}
    return {**language_models(settings.models)}


def load_in_background(
    entries: dict[str, ModelEntry | None], settings: Settings, registry: Registry, load: Load
) -> None:
    """One daemon thread, so that neither requests nor the end of the process wait for a model."""
    loop = asyncio.get_running_loop()

    def load_all() -> None:
        with without_garbage_collection():
            for name, entry in entries.items():
                loop.call_soon_threadsafe(registry.put, load_model(name, partial(load, entry, settings)))

    threading.Thread(target=load_all, name=LOADER_THREAD, daemon=True).start()


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Loading makes a million objects that stay; searching them for garbage takes a quarter of the time to ready.

    Freezing them afterwards also keeps later collections, which stop every stream, short.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def load_model(name: str, load: Callable[[], Predictor]) -> Model:
    try:
        predictor = load()
    except (StreamingError, ModelsError) as error:
        _log.error("model %s is not loaded: %s", name, error.message)
        return NotLoaded(name, error.message)
    except Exception:  # noqa: BLE001  a model that breaks while it loads must not take the service along
        _log.exception("model %s is not loaded", name)
        return NotLoaded(name, f"The model {name} could not be loaded; the service's log says why.")
    _log.info("model %s is ready, version %s", name, predictor.version)
    return Loaded(name, predictor)


def load_predictor(entry: ModelEntry | None, settings: Settings) -> Predictor:
    """Blocks. Raises `ModelsError` or `StreamingError` with a message for the client."""
    if entry is None:
        return load_echo(settings)
    prepared = ModelStore(settings.models_dir).prepared(entry)
    if prepared is None:
        _log.error("model %s is not here: run `%s`", entry.name, pull_command(settings.models, entry.name))
        raise EngineDown(f"The model {entry.name} is not here yet; whoever runs the service has to fetch it.")
    return load_torch(entry, prepared, settings)


def load_echo(settings: Settings) -> Predictor:
    speed = EchoSpeed(
        tokens_per_second=settings.echo.tokens_per_second,
        max_running=settings.max_running,
        max_waiting=settings.max_waiting,
        max_background=settings.max_background,
    )
    return EchoPredictor(EchoEngine(speed), name=ECHO_MODEL, default_max_tokens=settings.default_max_tokens)


def load_torch(entry: ModelEntry, prepared: PreparedModel, settings: Settings) -> Predictor:
    from streaming.engines.torch.load import load_predictor  # noqa: PLC0415  torch is slow to import and may be unused
    from streaming.engines.torch.settings import TorchSettings  # noqa: PLC0415

    defaults = entry.defaults.model_dump(exclude_none=True)
    torch_settings = TorchSettings(
        max_running=settings.max_running,
        max_waiting=settings.max_waiting,
        max_background=settings.max_background,
        background_share=settings.background_share,
        kv_cache_bytes=settings.kv_cache_mib * MIB,
        prefill_chunk_tokens=settings.prefill_chunk_tokens,
        dense_copy_max_bytes=settings.dense_copy_max_mib * MIB,
        default_max_tokens=defaults.pop("max_tokens", settings.default_max_tokens),
        threads=settings.threads,
        device=settings.device,
        dtype=entry.dtype,
        quantization=entry.quantization,
        max_context_tokens=entry.max_context_tokens,
        defaults=defaults,
    )
    return load_predictor(prepared.path, name=entry.name, version=prepared.version, settings=torch_settings)


def open_streams(settings: Settings, counted: Metrics) -> Streams:
    retention = Retention(
        first_reader_grace_s=settings.first_reader_grace_s,
        ticket_ttl_s=settings.ticket_ttl_s,
        finished_log_ttl_s=settings.finished_log_ttl_s,
        finished_logs_max_bytes=int(settings.finished_logs_max_mib * MIB),
    )
    return Streams(open_log(partial(GenerationObserver, counted)), retention)


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
    settings: Settings, streams: Streams, registry: Registry, readings: Readings, drain: Drain, *, counted: Metrics
) -> Backend:
    def find_predictor(name: str) -> Predictor:
        if drain.is_started:
            raise ShuttingDown("The service is shutting down and takes no new work.")
        return registry.find(name)

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


async def finish_answers(registry: Registry, readings: Readings, grace_s: float) -> None:
    """First those that still read their files, since they need an engine afterwards."""
    ends_at = time.monotonic() + grace_s
    await readings.finish_reading(grace_s)
    await close_engines(registry, max(ends_at - time.monotonic(), 0.0))
    await readings.finish_citing()


async def close_engines(registry: Registry, grace_s: float) -> None:
    """Closing waits for what runs, so every engine is closed in a thread of its own."""
    engines = [model.predictor.engine for model in registry.models.values() if isinstance(model, Loaded)]
    await asyncio.gather(*(asyncio.to_thread(engine.close, grace_s) for engine in engines))


def start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(work)
