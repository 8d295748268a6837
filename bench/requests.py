"""The load client for small requests, in a process of its own: `python -m bench.requests < job.json` prints JSON.

Every client has one connection and asks again as soon as it has its answer. Answers are looked at, not only counted.
"""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import cast

import uvloop

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CONNECT_WITHIN_S = 10


@dataclass(frozen=True, slots=True)
class Job:
    """Each client sends the bodies in turn and begins at a place of its own; `expected` stands in every answer.

    With 0 seconds each asks once.
    """

    host: str
    port: int
    path: str
    bodies: Sequence[str]
    expected: str
    clients: int
    seconds: float
    warm_s: float = 0.5


@dataclass(slots=True)
class Outcome:
    """`latencies_s` are those of the answers that came within the measured time."""

    took_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.latencies_s) / self.took_s if self.took_s else 0.0


class Client(asyncio.Protocol):
    def __init__(self, job: Job, number: int, outcome: Outcome, begin: float) -> None:
        self._requests = [request_of(job, body) for body in job.bodies]
        self._turn = number * len(job.bodies) // job.clients  # so that clients do not ask the same at one time
        self._expected = job.expected.encode()
        self._outcome = outcome
        self._begin = begin + job.warm_s
        self._end = self._begin + job.seconds
        self._is_once = job.seconds == 0
        self._received = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not of asyncio's class
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._is_answered = False
        self._transport.write(self._requests[self._turn % len(self._requests)])
        self._turn += 1

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        length = LENGTH.search(self._received, 0, head_end) if head_end >= 0 else None
        if length is None or len(self._received) < head_end + 4 + int(length[1]):
            return
        answer, self._received = self._received, b""
        self._is_answered = True
        now = time.perf_counter()
        if b" 200 " not in answer[:20] or self._expected not in answer[head_end:]:
            self._outcome.failures.append(answer[:300].decode("latin-1"))
        elif self._is_once or self._begin <= now < self._end:
            self._outcome.latencies_s.append(now - self._sent_at)
        if now < self._end and not self._is_once:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_answered:
            self._outcome.failures.append(f"the connection was closed: {exc}")
        self.done.set_result(None)


def request_of(job: Job, body: str) -> bytes:
    content = body.encode()
    head = (
        f"POST {job.path} HTTP/1.1\r\nHost: {job.host}:{job.port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def ask(job: Job) -> Outcome:
    outcome, loop, begin = Outcome(took_s=job.seconds), asyncio.get_running_loop(), time.perf_counter()
    async with asyncio.timeout(CONNECT_WITHIN_S):
        clients = [partial(Client, job, number, outcome, begin) for number in range(job.clients)]
        connected = await asyncio.gather(*(loop.create_connection(one, job.host, job.port) for one in clients))
    await asyncio.gather(*(client.done for _, client in connected))
    return outcome


def run_client(job: Job, within_s: float) -> Outcome:
    """In a process of its own, so that it shares no interpreter with whoever measures."""
    command = [sys.executable, "-m", "bench.requests"]
    given = json.dumps(asdict(job))
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=within_s)
    return Outcome(**json.loads(done.stdout))


def main() -> None:
    json.dump(asdict(uvloop.run(ask(Job(**json.load(sys.stdin))))), sys.stdout)


if __name__ == "__main__":
    main()
