"""The streams of this process: who made them, who reads them, and when they end and are forgotten.

Everything here runs on one event loop. A stream that nobody reads is cancelled after its grace; a finished log
is kept for a while, and all finished logs together within a bound, so that a late reader still gets the rest.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from streaming.generation import Generation
from streaming.log import Log
from streaming.tickets import NO_TICKET, Ticket, read_ticket, write_ticket

SWEEP_INTERVAL_S = 0.5
BOOK_BYTES = 1_000  # about what a stream takes here beside its log


class KeptLog(Log, Protocol):
    @property
    def size_bytes(self) -> int:
        """About how much of this process's memory the log holds."""


class Starter(Protocol):
    """What of an engine a stream needs: to be started, and to be ended early."""

    def submit(self, generation: Generation, log: Log) -> None: ...

    def cancel(self, stream_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a stream waits for its first reader, and how long and how much is kept of what is finished."""

    first_reader_grace_s: float = 5.0
    ticket_ttl_s: float = 60.0
    finished_log_ttl_s: float = 300.0
    finished_logs_max_bytes: int = 64 * 1024 * 1024
    finished_logs_max: int = 10_000


class Ended:
    """In the place of an engine that has done its part: a kept log must not keep a replaced model in memory."""

    def submit(self, generation: Generation, log: Log) -> None:
        raise RuntimeError("a stream is started once")

    def cancel(self, stream_id: str) -> None:
        pass


ENDED = Ended()


@dataclass(eq=False, slots=True)
class Stream:
    id: str
    owner: str
    model: str
    model_version: str
    created: int
    log: KeptLog
    engine: Starter
    grace_s: float
    readers: int = 0
    ticket: Ticket = NO_TICKET
    timer: asyncio.TimerHandle | None = None
    ended_at: float = 0.0
    kept_bytes: int = 0


class Streams:
    """`clock` is for what lasts on this machine, `wall_clock` for what a client is told."""

    def __init__(
        self,
        make_log: Callable[[], KeptLog],
        retention: Retention,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._make_log = make_log
        self._retention = retention
        self._clock = clock
        self._wall_clock = wall_clock
        self._live: dict[str, Stream] = {}
        self._finished: OrderedDict[str, Stream] = OrderedDict()
        self._finished_bytes = 0

    @property
    def live(self) -> int:
        return len(self._live)

    @property
    def readers(self) -> int:
        return sum(stream.readers for stream in (*self._live.values(), *self._finished.values()))

    @property
    def finished_bytes(self) -> int:
        return self._finished_bytes

    def open(self, engine: Starter, generation: Generation, grace_s: float) -> Stream:
        """Starts the generation. Raises what `Engine.submit` raises, and then nothing has happened."""
        stream = Stream(
            id=generation.stream_id,
            owner=generation.owner,
            model=generation.model,
            model_version=generation.model_version,
            created=generation.created,
            log=self._make_log(),
            engine=engine,
            grace_s=grace_s,
        )
        engine.submit(generation, stream.log)
        self._live[stream.id] = stream
        self._cancel_unread_after(stream, max(grace_s, self._retention.first_reader_grace_s))
        return stream

    def find(self, stream_id: str, owner: str) -> Stream | None:
        """None for an unknown id and for somebody else's alike."""
        stream = self._any(stream_id)
        return stream if stream is not None and stream.owner == owner else None

    def issue_ticket(self, stream: Stream, holder: object = None) -> tuple[str, float]:
        """A ticket and its expiry. The stream waits for its reader as long as the ticket lives."""
        expires_at = self._wall_clock() + self._retention.ticket_ttl_s
        text, stream.ticket = write_ticket(stream.id, expires_at, holder)
        self._cancel_unread_after(stream, max(stream.grace_s, self._retention.ticket_ttl_s))
        return text, expires_at

    def redeem(self, text: str, *, is_reconnect: bool) -> Stream | None:
        """The ticket's stream; None for a wrong ticket, and for an expired one unless it goes on reading."""
        stream_id, secret = read_ticket(text)
        stream = self._any(stream_id)
        ticket = NO_TICKET if stream is None else stream.ticket
        is_right = ticket.is_for(secret)
        if stream is None or not is_right:
            return None
        return stream if is_reconnect or self._wall_clock() < ticket.expires_at else None

    @contextmanager
    def reading(self, stream: Stream) -> Iterator[None]:
        """Counts one reader. When the last one goes, the grace begins."""
        stream.readers += 1
        stop_timer(stream)
        try:
            yield
        finally:
            stream.readers -= 1
            if not stream.readers:
                self._cancel_unread_after(stream, stream.grace_s)

    def cancel(self, stream: Stream) -> None:
        stop_timer(stream)
        stream.engine.cancel(stream.id)

    async def sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            self.sweep()

    def sweep(self) -> None:
        """Moves what has ended to the finished ones and forgets what is too old or too much."""
        now = self._clock()
        for stream in [one for one in self._live.values() if one.log.is_closed]:
            self._retire(stream, now)
        while self._finished and self._must_forget(next(iter(self._finished.values())), now):
            _, stream = self._finished.popitem(last=False)
            self._finished_bytes -= stream.kept_bytes

    def _any(self, stream_id: str) -> Stream | None:
        return self._live.get(stream_id) or self._finished.get(stream_id)

    def _cancel_unread_after(self, stream: Stream, delay_s: float) -> None:
        stop_timer(stream)
        if stream.readers or stream.log.is_closed:
            return
        if delay_s <= 0:
            self.cancel(stream)
        else:
            stream.timer = asyncio.get_running_loop().call_later(delay_s, self.cancel, stream)

    def _retire(self, stream: Stream, now: float) -> None:
        stop_timer(stream)
        stream.engine = ENDED
        del self._live[stream.id]
        stream.ended_at = now
        stream.kept_bytes = stream.log.size_bytes + BOOK_BYTES
        self._finished[stream.id] = stream
        self._finished_bytes += stream.kept_bytes

    def _must_forget(self, oldest: Stream, now: float) -> bool:
        return (
            now - oldest.ended_at >= self._retention.finished_log_ttl_s
            or self._finished_bytes > self._retention.finished_logs_max_bytes
            or len(self._finished) > self._retention.finished_logs_max
        )


def stop_timer(stream: Stream) -> None:
    if stream.timer is not None:
        stream.timer.cancel()
        stream.timer = None
