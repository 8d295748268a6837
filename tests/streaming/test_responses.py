"""The response that owns a reader, called as a server calls it: stuck sends, servers that know no hang-up, chunks."""

import asyncio
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest

from streaming.encode import CHUNK_BYTES, NdjsonEncoder, TextEncoder, chunks
from streaming.engines.echo import EchoEngine, EchoSpeed
from streaming.engines.echo.script import to_ids
from streaming.events import Delta
from streaming.generation import Generation, new_stream_id
from streaming.limits import Pace
from streaming.log import Entry
from streaming.logs.memory import MemoryLog, Waker
from streaming.responses import CONNECTION_EXTENSION, LogResponse
from streaming.resume import GoOn
from streaming.sse import SseEncoder
from streaming.streams import Retention, Streams

Message = MutableMapping[str, Any]


class Wire:
    """A connection as an ASGI server has it. It takes `taken` messages and then no more."""

    def __init__(self, taken: int) -> None:
        self._taken = taken
        self._gone = asyncio.Event()
        self.sent: list[Message] = []
        self.ended: list[str] = []

    def close(self) -> None:
        self.ended.append("close")
        self._gone.set()

    def abort(self) -> None:
        self.ended.append("abort")
        self._gone.set()

    async def receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if len(self.sent) >= self._taken:
            await asyncio.Event().wait()
        self.sent.append(message)

    def scope(self) -> Message:
        return {"type": "http", "method": "GET", "extensions": {CONNECTION_EXTENSION: self}}


@pytest.fixture
def engine() -> Iterator[EchoEngine]:
    engine = EchoEngine(EchoSpeed(0))
    yield engine
    engine.close(0)


def open_stream(engine: EchoEngine, prompt: str) -> tuple[Streams, GoOn]:
    waker = Waker(asyncio.get_running_loop())
    streams = Streams(lambda: MemoryLog(waker), Retention())
    generation = Generation(new_stream_id(), "me", "default", "v1", to_ids(prompt), 100, 1, 1)
    return streams, GoOn(streams.open(engine, generation, 15), -1)


async def test_a_send_that_nobody_takes_is_cut_at_its_timeout(engine: EchoEngine) -> None:
    streams, place = open_stream(engine, "one two three")
    wire = Wire(taken=1)
    async with asyncio.timeout(60):
        response = LogResponse(streams, place, SseEncoder(), Pace(send_timeout_s=0.1))
        await response(wire.scope(), wire.receive, wire.send)
    assert wire.ended == ["abort"]
    assert place.stream.readers == 0


async def test_a_failed_text_closes_the_connection_and_keeps_what_was_sent(engine: EchoEngine) -> None:
    streams, place = open_stream(engine, "one two [[echo fail_at=1]]")
    wire = Wire(taken=100)
    async with asyncio.timeout(60):
        await LogResponse(streams, place, TextEncoder(), Pace())(wire.scope(), wire.receive, wire.send)
    assert wire.ended == ["close"]
    assert all(message.get("more_body", True) for message in wire.sent)


async def test_without_the_extension_the_body_just_does_not_end(engine: EchoEngine) -> None:
    streams, place = open_stream(engine, "one two [[echo fail_at=1]]")
    wire = Wire(taken=100)
    async with asyncio.timeout(60):
        scope = {"type": "http", "method": "GET"}
        await LogResponse(streams, place, TextEncoder(), Pace())(scope, wire.receive, wire.send)
    assert all(message.get("more_body", True) for message in wire.sent)


async def test_a_response_whose_start_is_cancelled_leaves_no_reader(engine: EchoEngine) -> None:
    """The generator of the body has not begun then, so nothing in it would clean up."""
    streams, place = open_stream(engine, "one [[echo hang_at=0]]")
    wire = Wire(taken=0)
    response = LogResponse(streams, place, SseEncoder(), Pace())
    running = asyncio.ensure_future(response(wire.scope(), wire.receive, wire.send))
    while not place.stream.readers:  # noqa: ASYNC110  a reader has no event
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert place.stream.readers == 0
    assert place.stream.timer is not None


@pytest.mark.parametrize("make", [SseEncoder, NdjsonEncoder, TextEncoder])
def test_a_late_batch_goes_out_in_bounded_chunks(make: type[SseEncoder | NdjsonEncoder | TextEncoder]) -> None:
    entries = [Entry(place, Delta("z" * 1000)) for place in range(1000)]
    sizes = [len(chunk) for chunk in chunks(make(), "s1", entries)]
    assert max(sizes) <= CHUNK_BYTES + 2000
    assert len(sizes) >= 1_000_000 // (CHUNK_BYTES + 2000)
    assert b"".join(chunks(make(), "s1", entries)).count(b"z") == 1_000_000
