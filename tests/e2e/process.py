"""`headwater serve` as a process of its own: started, waited for, ended by its own id."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic

import httpx

HOST = os.environ.get("HOST") or "127.0.0.1"
READY_WITHIN_S = 60
LEAVE_WITHIN_S = 40
POLL_S = 0.02


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], within_s: float, what: str) -> None:
    """Asks until it holds; fails the test when it does not within the deadline."""
    deadline = monotonic() + within_s
    pause = Event()
    while not condition():
        assert monotonic() < deadline, f"not within {within_s} s: {what}"
        pause.wait(POLL_S)


@dataclass(frozen=True)
class Headwater:
    process: "subprocess.Popen[bytes]"
    log: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def is_ready(self) -> bool:
        assert self.process.poll() is None, f"the server ended:\n{self.log.read_text()}"
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        return self.process.wait(LEAVE_WITHIN_S)

    def plain(self, prompt: str) -> str:
        """The whole answer as text, read without any cut."""
        response = httpx.get(
            f"{self.url}/chat/stream", params={"prompt": prompt}, headers={"Accept": "text/plain"}, timeout=60
        )
        response.raise_for_status()
        return response.text


@contextmanager
def serving(log: Path, port: int, *options: str, **environment: str) -> Iterator[Headwater]:
    """A ready server; whatever it still does at the end is ended."""
    command = [sys.executable, "-m", "service", "serve", "--host", HOST, "--port", str(port), *options]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "HEADWATER_DATA_DIR": str(log.parent / "data"), **environment},
        )
    server = Headwater(process, log, port)
    try:
        wait_until(server.is_ready, READY_WITHIN_S, "the server is ready")
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
