"""Blocking work in a daemon thread of its own: neither requests nor the end of the process wait for a model."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
LOADER_THREAD = "load-model"


def in_daemon_thread(work: Callable[[], Result]) -> "asyncio.Future[Result]":
    """Starts at once. Called on the event loop, where the future ends; one that is cancelled lets the work go on."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  passed on to whoever waits, never swallowed
            tell(future.set_exception, error)
        else:
            tell(future.set_result, result)

    def tell(end: Callable[..., None], outcome: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(lambda: None if future.done() else end(outcome))

    threading.Thread(target=run, name=LOADER_THREAD, daemon=True).start()
    return future
