"""Runs one of our own functions in a process that can be killed: by its memory, its CPU time, the wall clock.

For work on files of strangers, where a library may loop, swell or crash:

    sandbox = Sandbox(Bounds(wall_s=120, cpu_s=60, memory_bytes=1 << 30), max_processes=2)
    pages = await sandbox.run("uploads.documents.pdf:pages", str(path), 200, on_progress=show)

The function is named, not passed, so that its module (and the library behind it) is imported in the child only.
Arguments and result travel as JSON: what a parser was talked into cannot become code here. With `on_progress` the
function gets `report(done, total)` as its first argument, and every call of it arrives at `on_progress`. A subclass of
`UploadsError` that the function raises is raised again here, by its code; anything else is `ProcessingCrashed`. After
`run`, also a cancelled one, the child and its children are dead. They see no environment variables of the service, work
in a folder of their own that is removed, and run at low priority.

Each child is a fork of a small server that starts with the first of them and lives until `close`, or until nothing was
to be done for `idle_s`. The function `preload` is called in that server: what it loads, no child has to load.
"""

import asyncio
import json
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from uploads.errors import ProcessingCrashed, ProcessingOutOfMemory, ProcessingTimedOut, UploadsError
from uploads.fork_server import Fork, ForkServer

SMALL_REPLY_BYTES = 64 * 1024  # decoded at once; a larger one in a thread
TOO_LONG = "The file takes longer to process than is allowed."
TOO_MUCH = "The file needs more memory than is allowed."
OnProgress: TypeAlias = Callable[[int, int | None], None]
_log = logging.getLogger("headwater.sandbox")


@dataclass(frozen=True, slots=True)
class Bounds:
    wall_s: float
    cpu_s: int
    memory_bytes: int
    """Address space: also what is only mapped counts, so Python with a large library needs some hundred MiB."""
    reply_bytes: int = 64 * 1024 * 1024


class Sandbox:
    """At most `max_processes` at once; the others wait for their turn, which does not count as wall time."""

    def __init__(
        self, bounds: Bounds, max_processes: int, *, preload: str | None = None, idle_s: float | None = None
    ) -> None:
        self._bounds = bounds
        self._turns = asyncio.Semaphore(max_processes)
        self._preload = preload
        self._idle_s = idle_s
        self._starting: asyncio.Task[ForkServer] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._running = 0

    async def run(self, function: str, *arguments: Any, on_progress: OnProgress | None = None) -> Any:
        """Raises `ProcessingTimedOut`, `ProcessingOutOfMemory`, `ProcessingCrashed`, and what the function raised."""
        async with self._turns, self._server() as server:
            folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="headwater-sandbox-")
            task = {
                "function": function,
                "arguments": arguments,
                "wants_progress": on_progress is not None,
                "folder": folder,
                **asdict(self._bounds),
            }
            try:
                return await self._run(server, task, on_progress or ignore)
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def close(self) -> None:
        """Kills what still runs."""
        self._end_server()
        await asyncio.gather(*self._ending)

    async def _run(self, server: ForkServer, task: dict[str, Any], on_progress: OnProgress) -> Any:
        async with forked(server, task, self._bounds.reply_bytes) as (fork, replies):
            try:
                async with asyncio.timeout(self._bounds.wall_s):
                    return await converse(fork, replies, on_progress)
            except TimeoutError:
                raise ProcessingTimedOut(TOO_LONG) from None

    @asynccontextmanager
    async def _server(self) -> AsyncIterator[ForkServer]:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._running += 1
        try:
            yield await self._started()
        finally:
            self._running -= 1
            if self._running == 0 and self._idle_s is not None:
                self._idle_timer = asyncio.get_running_loop().call_later(self._idle_s, self._end_server)

    async def _started(self) -> ForkServer:
        """One for all who ask; another one when it has died."""
        if self._starting is not None and self._starting.done() and is_lost(self._starting):
            self._end_server()
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(ForkServer.start(self._preload))
        try:
            return await asyncio.shield(self._starting)
        except (OSError, RuntimeError) as error:
            _log.error("the process that sandboxes are forked from did not start: %s", error)
            raise ProcessingCrashed("The file cannot be processed.") from error

    def _end_server(self) -> None:
        starting, self._starting = self._starting, None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if starting is not None:
            task = asyncio.get_running_loop().create_task(end(starting))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


def is_lost(starting: "asyncio.Task[ForkServer]") -> bool:
    return starting.cancelled() or starting.exception() is not None or starting.result().has_died


async def end(starting: "asyncio.Task[ForkServer]") -> None:
    await asyncio.wait([starting])
    if not starting.cancelled() and starting.exception() is None:
        await starting.result().close()


@asynccontextmanager
async def forked(
    server: ForkServer, task: dict[str, Any], reply_bytes: int
) -> AsyncIterator[tuple[Fork, asyncio.StreamReader]]:
    """Dead when it is left."""
    replies = asyncio.StreamReader(limit=reply_bytes)
    ours, theirs = os.pipe()
    protocol = asyncio.StreamReaderProtocol(replies)
    try:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(ours, "rb", 0))
        fork = server.fork(task, theirs)
    finally:
        os.close(theirs)
    try:
        yield fork, replies
    finally:
        server.kill(fork)
        transport.close()
        await fork.ended


async def converse(fork: Fork, replies: asyncio.StreamReader, on_progress: OnProgress) -> Any:
    while True:
        try:
            line = await replies.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise ProcessingOutOfMemory(TOO_MUCH) from None
        except asyncio.IncompleteReadError:
            raise end_of(await asyncio.shield(fork.ended)) from None
        message = json.loads(line) if len(line) < SMALL_REPLY_BYTES else await asyncio.to_thread(json.loads, line)
        if "progress" in message:
            on_progress(*message["progress"])
        elif "result" in message:
            return message["result"]
        else:
            raise failure_of(message)


def failure_of(message: dict[str, str]) -> UploadsError:
    if "code" in message:
        known = {kind.code: kind for kind in kinds(UploadsError)}
        return known.get(message["code"], ProcessingCrashed)(message["message"])
    # the exception's own words may quote the file
    _log.error("a function in the sandbox raised %s at %s", message["raised"], message["where"])
    return ProcessingCrashed("The file cannot be processed.")


def end_of(status: int) -> UploadsError:
    if status == -signal.SIGXCPU:
        return ProcessingTimedOut(TOO_LONG)
    if status == -signal.SIGKILL:  # by the kernel, which had no memory left
        return ProcessingOutOfMemory(TOO_MUCH)
    _log.error("a process in the sandbox ended with %d and without an answer", status)
    return ProcessingCrashed("The file cannot be processed.")


def kinds(root: type[UploadsError]) -> Iterator[type[UploadsError]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def ignore(_done: int, _total: int | None) -> None:
    pass
