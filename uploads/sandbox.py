"""Runs one of our own functions in a fresh process that can be killed: by its memory, its CPU time, the wall clock.

For work on files of strangers, where a library may loop, swell or crash:

    sandbox = Sandbox(Bounds(wall_s=120, cpu_s=60, memory_bytes=1 << 30), max_processes=2)
    pages = await sandbox.run("uploads.documents.pdf:pages", str(path), 200, on_progress=show)

The function is named, not passed, so that its module (and the library behind it) is imported in the child only.
Arguments and result travel as JSON: what a parser was talked into cannot become code here. With `on_progress` the
function gets `report(done, total)` as its first argument, and every call of it arrives at `on_progress`. A subclass of
`UploadsError` that the function raises is raised again here, by its code; anything else is `ProcessingCrashed`. After
`run`, also a cancelled one, the child and its children are dead. They see no environment variables of the service, work
in a folder of their own that is removed, and run at low priority.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from uploads.errors import ProcessingCrashed, ProcessingOutOfMemory, ProcessingTimedOut, UploadsError

CHILD = Path(__file__).with_name("sandbox_child.py")
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

    def __init__(self, bounds: Bounds, max_processes: int) -> None:
        self._bounds = bounds
        self._turns = asyncio.Semaphore(max_processes)
        self._path = [str(Path(entry).resolve()) for entry in sys.path]  # the child works in another folder

    async def run(self, function: str, *arguments: Any, on_progress: OnProgress | None = None) -> Any:
        """Raises `ProcessingTimedOut`, `ProcessingOutOfMemory`, `ProcessingCrashed`, and what the function raised."""
        task = {
            "function": function,
            "arguments": arguments,
            "wants_progress": on_progress is not None,
            "path": self._path,
            "parent": os.getpid(),
            **asdict(self._bounds),
        }
        async with self._turns:
            folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="headwater-sandbox-")
            try:
                return await self._run(json.dumps(task).encode(), folder, on_progress or ignore)
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _run(self, task: bytes, folder: str, on_progress: OnProgress) -> Any:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(CHILD)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"},
            cwd=folder,
            start_new_session=True,
            limit=self._bounds.reply_bytes,
        )
        try:
            async with asyncio.timeout(self._bounds.wall_s):
                return await converse(process, task, on_progress)
        except TimeoutError:
            raise ProcessingTimedOut(TOO_LONG) from None
        finally:
            await kill(process)


async def converse(process: Process, task: bytes, on_progress: OnProgress) -> Any:
    assert process.stdin is not None  # noqa: S101  we asked for pipes; this is for the type checker
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(task)
        await process.stdin.drain()
        process.stdin.close()
    except ConnectionError:  # it ended before it had read everything
        raise end_of(await process.wait()) from None
    while True:
        try:
            line = await process.stdout.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise ProcessingOutOfMemory(TOO_MUCH) from None
        except asyncio.IncompleteReadError:
            raise end_of(await process.wait()) from None
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


async def kill(process: Process) -> None:
    """The whole group: a library may have started helpers. The group outlives its first process."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def ignore(_done: int, _total: int | None) -> None:
    pass
