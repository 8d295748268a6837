"""Servers as processes: start one, wait until it is ready, weigh it, end it by its own id."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

import psutil

HOST = "127.0.0.1"
READY_WITHIN_S = 180
POLL_S = 0.02  # asked every 5 ms, a start took a quarter of a second longer
LEAVE_WITHIN_S = 35
WORKERS_LEAVE_WITHIN_S = 1


@dataclass(frozen=True, slots=True)
class Contender:
    """`{port}` in the command is the port to listen on; `ready_path` answers 200 once it can serve."""

    name: str
    command: tuple[str, ...]
    ready_path: str
    dialect: str
    max_streams: int = 1_000_000
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Server:
    contender: Contender
    port: int
    process: psutil.Popen
    ready_after_s: float

    def resident_bytes(self) -> int:
        return sum(one.memory_info().rss for one in [self.process, *self.process.children(recursive=True)])


class NotReady(Exception):
    """The server ended or did not get ready in time; the message ends with what it wrote."""


def leave_on_sigterm() -> None:
    """As on Ctrl-C: the servers that were started are ended on the way out."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def running(contender: Contender) -> Iterator[Server]:
    port = free_port()
    command = [part.format(port=port) for part in contender.command]
    with NamedTemporaryFile("w+", suffix=".log") as log:
        begin = time.perf_counter()
        process = psutil.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **contender.environment}
        )
        try:
            wait_until_ready(process, f"http://{HOST}:{port}{contender.ready_path}", Path(log.name))
            yield Server(contender, port, process, time.perf_counter() - begin)
        finally:
            end(process)


def wait_until_ready(process: psutil.Popen, url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise NotReady(f"{' '.join(process.args)}\n{log.read_text()[-2000:]}")
        time.sleep(POLL_S)


def end(process: psutil.Popen) -> None:
    """With what it has started: some leave their workers behind."""
    started = process.children(recursive=True)
    process.terminate()
    _, stuck = psutil.wait_procs([process], LEAVE_WITHIN_S)
    _, left = psutil.wait_procs(started, WORKERS_LEAVE_WITHIN_S)
    for one in (*stuck, *left):
        one.kill()
    psutil.wait_procs([*stuck, *left])
