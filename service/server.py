"""The server process: uvicorn, with a drain before its own shutdown and connections that are bounded.

uvicorn closes its listeners at SIGTERM and runs the lifespan's end only after the last connection; sse-starlette
then cuts all streams. Here SIGTERM starts the drain instead, the server keeps answering, and uvicorn shuts down
when every generation has its end. A second signal ends the process at once.
"""

import asyncio
import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from sse_starlette.sse import AppStatus
from uvicorn.config import STARTUP_FAILURE

from service.app import create_app
from service.connection import Connection, ConnectionLimits
from service.drain import Drain
from service.models.errors import ModelsError
from service.models.fleet import entries_of
from service.models.loaders import Load, load_model
from service.models.thread import LOADER_THREAD
from service.reload import SettingsReload
from service.settings import Settings
from service.settings_load import load_settings
from service.telemetry import configure_logging

FLUSH_TIMEOUT_S = 5.0  # for readers to take the last events after the drain
HARD_EXIT_S = 0.7  # after the second signal
_log = logging.getLogger("headwater.server")


class Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, drain: Drain, on_hangup: list[Callable[[], None]]) -> None:
        super().__init__(config)
        self._drain = drain
        self._signals = 0
        self._has_hangup = False
        self.on_hangup = on_hangup
        """Called on the event loop after a SIGHUP; must not block."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn would raise the signal again after its end; not remembering it lets the process exit with 0."""
        self._signals += 1
        if self._signals > 1:
            self.should_exit = self.force_exit = True
            watchdog = threading.Timer(HARD_EXIT_S, os._exit, (1,))
            watchdog.daemon = True
            watchdog.start()

    def handle_hangup(self, sig: int, frame: FrameType | None) -> None:
        self._has_hangup = True

    async def on_tick(self, counter: int) -> bool:
        if self._has_hangup:
            self._has_hangup = False
            for call in self.on_hangup:
                call()
        if self._signals and not self._drain.is_started:
            _log.info("draining: no new work, running answers may finish")
            self._drain.start()
        if self._drain.is_finished:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: Any = None) -> None:
        deadline = time.monotonic() + FLUSH_TIMEOUT_S
        while self._busy() and not self.force_exit and time.monotonic() < deadline:  # noqa: ASYNC110  uvicorn tells nobody
            await asyncio.sleep(0.02)
        for connection in self._busy():
            connection.transport.abort()
        await super().shutdown(sockets)

    def _busy(self) -> list[Any]:
        connections: list[Any] = list(self.server_state.connections)
        return [one for one in connections if one.cycle is not None and not one.cycle.response_complete]


def make_server(app: FastAPI, settings: Settings) -> Server:
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=cast(Any, partial(Connection, limits=connection_limits(settings))),
        ws="none",
        timeout_keep_alive=settings.edge.keep_alive_s,
        proxy_headers=False,  # it believes every process of this machine; see `service.proxies`
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return Server(config, app.state.drain, app.state.on_hangup)


def connection_limits(settings: Settings) -> ConnectionLimits:
    edge = settings.edge
    return ConnectionLimits(
        max_connections=edge.max_connections,
        max_head_bytes=edge.max_head_bytes,
        max_headers=edge.max_headers,
        head_timeout_s=edge.head_timeout_s,
        body_timeout_s=edge.body_timeout_s,
        body_min_bytes=edge.body_min_bytes,
        stuck_after_s=settings.send_timeout_s,
    )


def run(settings: Settings, load: Load = load_model, reread: Callable[[], Settings] = load_settings) -> int:
    """Serves until a signal; the exit code of the process. `reread` is asked for the settings at each SIGHUP."""
    configure_logging(settings)
    try:
        entries_of(settings)
    except ModelsError as error:
        _log.error("%s", error.message)
        return 1
    AppStatus.enable_automatic_graceful_drain = False
    server = make_server(create_app(settings, load), settings)
    server.on_hangup.append(SettingsReload(settings, reread))
    signal.signal(signal.SIGHUP, server.handle_hangup)
    gc.freeze()  # what is imported is not searched for garbage, neither now nor later
    gc.enable()
    has_started = serve(server)
    if server.force_exit or any(thread.name == LOADER_THREAD for thread in threading.enumerate()):
        leave_at_once(0 if has_started and not server.force_exit else 1)
    return 0 if has_started else 1


def serve(server: Server) -> bool:
    """False when it could not start: the log has said why, and uvicorn would end the process with a code of its own."""
    try:
        server.run()
    except SystemExit as left:
        if left.code != STARTUP_FAILURE:
            raise
    return server.started


def leave_at_once(code: int) -> None:
    """A thread in the middle of native code can neither be stopped nor be waited for."""
    logging.shutdown()
    os._exit(code)
