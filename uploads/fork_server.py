"""A small process that sandboxed processes are forked from: started once, from a thread, and then asked.

The service is large, and making a process out of it stops the event loop; out of a small one it takes a millisecond.
And what takes seconds to load is loaded there once (`preload`), while no stranger's file is ever opened in it: a file
is read in a fork, and what it did to that fork ends with it.
"""

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAIN = Path(__file__).with_name("fork_server_main.py")
MESSAGE_MAX_BYTES = 64 * 1024
LEAVE_WITHIN_S = 10.0
DIED = -9  # what a fork's status is when the server died, and it with it
ALONE = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1")
"""No library starts threads: a fork would lack them and wait for them."""
_log = logging.getLogger("headwater.sandbox")


@dataclass(frozen=True, slots=True)
class Fork:
    """`ended` holds the exit code, as `subprocess` counts."""

    number: int
    ended: "asyncio.Future[int]"


@dataclass
class ForkServer:
    """Made by `start`, used on one event loop, ended by `close`."""

    control: socket.socket
    process: "subprocess.Popen[bytes]"
    ready: "asyncio.Future[None]"
    forks: dict[int, Fork] = field(default_factory=dict)
    last_number: int = 0
    has_died: bool = False

    @classmethod
    async def start(cls, preload: str | None) -> "ForkServer":
        """Returns when everything is loaded in it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            process = await asyncio.to_thread(start_process, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        loop = asyncio.get_running_loop()
        server = cls(ours, process, loop.create_future())
        ours.setblocking(False)
        loop.add_reader(ours, server._receive)
        path = [str(Path(entry).resolve()) for entry in sys.path]  # noqa: ASYNC240  the server works in another folder
        server._send({"path": path, "preload": preload})
        try:
            await server.ready
        except BaseException:
            await server.close()
            raise
        return server

    def fork(self, task: Mapping[str, Any], reply_to: int) -> Fork:
        """`reply_to` is the end of a pipe; the caller closes its own copy."""
        self.last_number += 1
        fork = self.forks[self.last_number] = Fork(self.last_number, asyncio.get_running_loop().create_future())
        try:
            self._send({"fork": fork.number, "task": task}, reply_to)
        except OSError:
            self._end_all()
        return fork

    def kill(self, fork: Fork) -> None:
        """It and its helpers; `ended` comes when they are dead."""
        if fork.number in self.forks:
            try:
                self._send({"kill": fork.number})
            except OSError:
                self._end_all()

    async def close(self) -> None:
        """Kills what still runs."""
        self._end_all()
        await asyncio.to_thread(wait_or_kill, self.process)

    def _send(self, message: Mapping[str, Any], *descriptors: int) -> None:
        socket.send_fds(self.control, [json.dumps(message).encode()], descriptors)

    def _receive(self) -> None:
        try:
            data = self.control.recv(MESSAGE_MAX_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end_all()
            return
        message = json.loads(data)
        if "ended" in message:
            self.forks.pop(message["ended"]).ended.set_result(message["status"])
        elif not self.ready.done():
            if message["raised"]:
                _log.error("what the sandbox loads in advance raised %s", message["raised"])
            self.ready.set_result(None)

    def _end_all(self) -> None:
        """Its forks die with it."""
        if self.has_died:
            return
        self.has_died = True
        asyncio.get_running_loop().remove_reader(self.control)
        self.control.close()
        if not self.ready.done():
            self.ready.set_exception(RuntimeError("the process that sandboxes are forked from did not start"))
        for fork in self.forks.values():
            fork.ended.set_result(DIED)
        self.forks.clear()


def start_process(control: socket.socket) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(MAIN)],
        stdin=control.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2", **ALONE},
        start_new_session=True,
    )


def wait_or_kill(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(LEAVE_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
