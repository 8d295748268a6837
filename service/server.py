"""The server process: uvicorn, with a drain before its own shutdown and a way to end one connection.

uvicorn closes its listeners at SIGTERM and runs the lifespan's end only after the last connection; sse-starlette
then cuts all streams. Here SIGTERM starts the drain instead, the server keeps answering, and uvicorn shuts down
when every generation has its end. A second signal ends the process at once.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from sse_starlette.sse import AppStatus
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.app import create_app
from service.drain import Drain
from service.errors import problem
from service.middleware import new_request_id
from service.models.errors import ModelsError
from service.models.fleet import entries_of
from service.models.loaders import Load, load_model
from service.models.thread import LOADER_THREAD
from service.reload import SettingsReload
from service.settings import Settings, load_settings
from service.telemetry import configure_logging
from streaming.responses import CONNECTION_EXTENSION

FLUSH_TIMEOUT_S = 5.0  # for readers to take the last events after the drain
HARD_EXIT_S = 0.7  # after the second signal
WRITE_BUFFER_BYTES = 32 * 1024  # unsent bytes for a slow reader, here and in the kernel each; then its stream waits
_log = logging.getLogger("headwater.server")


class Connection(HttpToolsProtocol):
    """Gives the application its transport's `close` and `abort`, keeps little for slow readers and drops stuck ones."""

    def __init__(self, *args: Any, stuck_after_s: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stuck_after_s = stuck_after_s
        self.access_log = False  # it writes query strings, and asks global logging state whether to

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        connected = transport.get_extra_info("socket")
        if connected is not None and sys.platform == "linux":
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, WRITE_BUFFER_BYTES)
            # also ends a connection whose answer is complete, but whose last bytes nobody takes
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._stuck_after_s * 1000))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION_EXTENSION: self.transport}  # type: ignore[dict-item]  # ours

    def on_headers_complete(self) -> None:
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before and self.scope["http_version"] == "1.0":
            send_unchunked(self.cycle)

    def send_400_response(self, msg: str) -> None:
        """What cannot be read as HTTP has no scope to answer in; the answer looks like every other error."""
        request_id = new_request_id()
        headers = {"Connection": "close", "X-Request-ID": request_id}
        answer = problem({"state": {"request_id": request_id}}, 400, msg, headers=headers)
        lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *answer.raw_headers)]
        self.transport.write(b"".join([STATUS_LINE[400], *lines, b"\r\n", answer.body]))
        self.transport.close()


def send_unchunked(cycle: RequestResponseCycle) -> None:
    """HTTP/1.0 knows no chunks, though uvicorn sends them: a body without a length ends with its connection."""
    send = cycle.send
    cycle.chunked_encoding = False

    async def send_plain(message: ASGISendEvent) -> None:
        if message["type"] == "http.response.body":
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    cycle.send = send_plain  # type: ignore[method-assign]  # a cycle is made inside uvicorn, without a say in its class


class Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, drain: Drain) -> None:
        super().__init__(config)
        self._drain = drain
        self._signals = 0
        self._has_hangup = False
        self.on_hangup: list[Callable[[], None]] = []
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
        http=cast(Any, partial(Connection, stuck_after_s=settings.send_timeout_s)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return Server(config, app.state.drain)


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
    server.run()
    if server.force_exit or any(thread.name == LOADER_THREAD for thread in threading.enumerate()):
        leave_at_once(1 if server.force_exit else 0)
    return 0 if server.started else 1


def leave_at_once(code: int) -> None:
    """A thread in the middle of native code can neither be stopped nor be waited for."""
    logging.shutdown()
    os._exit(code)
