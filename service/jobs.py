"""Puts background jobs together: what is done for each kind, by whom, and what their routes need."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from service.settings import Settings
from service.storage import WORK_FOLDER, Storage
from uploads import batch, checkpoint, ingest
from uploads.job_backend import JobLimits, JobsBackend
from uploads.library import Library
from uploads.results import Results
from uploads.rows import RowInput
from uploads.watch import JobWatch
from uploads.worker import Handler, Worker, WorkerLimits


@dataclass(frozen=True, slots=True)
class Jobs:
    results: Results
    handlers: Mapping[str, Handler]
    worker: Worker
    watch: JobWatch


def make_jobs(settings: Settings, storage: Storage, library: Library, predict_row: batch.PredictRow) -> Jobs:
    results = Results(storage.results, storage.jobs)
    folder = settings.data_dir / WORK_FOLDER
    handlers = make_handlers(settings, storage, library, predict_row)
    chores = [partial(checkpoint.sweep, folder, storage.jobs)]
    worker = Worker(storage.jobs, results, handlers, worker_limits(settings), chores)
    return Jobs(results, handlers, worker, JobWatch(storage.jobs, settings.jobs.watch_interval_s))


def make_handlers(
    settings: Settings, storage: Storage, library: Library, predict_row: batch.PredictRow
) -> dict[str, Handler]:
    """A new kind of job gets its line here."""
    folder = settings.data_dir / WORK_FOLDER
    return {
        batch.KIND: batch.BatchHandler(storage.uploads, predict_row, folder, settings.jobs.batch_rows_in_flight),
        ingest.KIND: ingest.IngestHandler(storage.uploads, library),
    }


def worker_limits(settings: Settings) -> WorkerLimits:
    given = settings.jobs
    return WorkerLimits(
        max_running=given.max_running,
        lease_s=given.lease_s,
        heartbeat_s=given.lease_s / 10,
        poll_s=given.poll_interval_s,
        retry_delay_s=given.retry_delay_s,
        keep_s=given.keep_s,
        sweep_interval_s=settings.uploads.sweep_interval_s,
    )


def open_jobs_backend(
    settings: Settings, storage: Storage, jobs: Jobs, check_model: Callable[[str], RowInput]
) -> JobsBackend:
    given = settings.jobs
    return JobsBackend(
        store=storage.jobs,
        results=jobs.results,
        watch=jobs.watch,
        limits=JobLimits(given.max_waiting, given.max_attempts, given.batch_max_rows),
        kinds=jobs.handlers.keys(),
        wake=jobs.worker.wake,
        check_model=check_model,
        heartbeat_s=settings.heartbeat_s,
        send_timeout_s=settings.send_timeout_s,
    )
