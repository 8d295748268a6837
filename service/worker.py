"""`headwater worker`: runs jobs of a store that others add to. No HTTP; its own copy of the models."""

import asyncio
import logging
import os
import signal
import threading
from functools import partial

from service.documents import make_recognition, open_library
from service.jobs import make_jobs
from service.lifespan import open_answers, open_log, open_rows
from service.metrics.metrics import Metrics
from service.models.errors import ModelsError
from service.models.fleet import Fleet, entries_of
from service.models.thread import LOADER_THREAD
from service.server import leave_at_once
from service.settings import Settings
from service.storage import StorageUnusable, open_storage
from service.telemetry import configure_logging

_log = logging.getLogger("headwater.worker")


def run(settings: Settings) -> int:
    """Works until a signal; the exit code of the process."""
    configure_logging(settings)
    try:
        asyncio.run(work(settings))
    except (ModelsError, StorageUnusable) as error:
        _log.error("%s", error)
        return 1
    if any(thread.name == LOADER_THREAD for thread in threading.enumerate()):
        leave_at_once(0)
    return 0


async def work(settings: Settings) -> None:
    leaving = leave_on_signals()
    fleet = Fleet(settings, partial(entries_of, settings))
    recognition = make_recognition(settings.documents)
    async with open_storage(settings) as storage, open_library(settings, storage, fleet, recognition) as library:
        fleet.start()
        answers = open_answers(settings, Metrics())
        jobs = make_jobs(settings, storage, library, open_rows(settings, fleet, open_log(), answers))
        working = asyncio.create_task(jobs.worker.run())
        _log.info("working on jobs: %s", ", ".join(jobs.handlers))
        await leaving.wait()
        _log.info("leaving: what runs may finish within %g s", settings.shutdown_grace_s)
        await asyncio.gather(jobs.worker.drain(settings.shutdown_grace_s), fleet.close(0), answers.close(0))
        await working


def leave_on_signals() -> asyncio.Event:
    """A second one ends the process at once."""
    leaving = asyncio.Event()

    def leave() -> None:
        if leaving.is_set():
            os._exit(1)
        leaving.set()

    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, leave)
    return leaving
