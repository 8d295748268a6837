"""The table of streams: owners, graces, tickets and what is forgotten when, on a clock of its own."""

import asyncio
from collections.abc import Iterator

import pytest

from streaming.engines.echo import EchoEngine, EchoSpeed
from streaming.engines.echo.script import to_ids
from streaming.events import Delta, Finished, Started, Timings, Usage
from streaming.generation import Generation, new_stream_id
from streaming.logs.memory import MemoryLog, Waker
from streaming.streams import Retention, Stream, Streams

END = Finished("stop", Usage(1, 1), Timings(0, 0, 0, 0))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine() -> Iterator[EchoEngine]:
    engine = EchoEngine(EchoSpeed(100.0, max_running=50))
    yield engine
    engine.close(0)


def a_generation(owner: str = "me", prompt: str = "word [[echo hang_at=0]]") -> Generation:
    return Generation(new_stream_id(), owner, "default", "v1", to_ids(prompt), 10, 1, 1)


async def streams_with(clock: Clock, **retention: float) -> Streams:
    waker = Waker(asyncio.get_running_loop())
    return Streams(lambda: MemoryLog(waker), Retention(**retention), clock, clock)  # type: ignore[arg-type]


def finish(stream: Stream, text: str = "x") -> None:
    stream.engine.cancel(stream.id)
    stream.log.append(Delta(text), END)


async def test_somebody_elses_stream_is_like_an_unknown_one(clock: Clock, engine: EchoEngine) -> None:
    streams = await streams_with(clock)
    stream = streams.open(engine, a_generation("me"), 15)
    assert streams.find(stream.id, "me") is stream
    assert streams.find(stream.id, "you") is None
    assert streams.find(new_stream_id(), "me") is None
    finish(stream)
    streams.sweep()
    assert streams.find(stream.id, "me") is stream
    assert streams.find(stream.id, "you") is None


async def test_a_finished_log_is_kept_for_its_time(clock: Clock, engine: EchoEngine) -> None:
    streams = await streams_with(clock, finished_log_ttl_s=300)
    stream = streams.open(engine, a_generation(), 15)
    finish(stream)
    streams.sweep()
    assert (streams.live, streams.find(stream.id, "me")) == (0, stream)
    clock.now += 299.9
    streams.sweep()
    assert streams.find(stream.id, "me") is stream
    clock.now += 0.2
    streams.sweep()
    assert streams.find(stream.id, "me") is None
    assert streams.finished_bytes == 0


async def test_finished_logs_stay_within_their_memory_the_oldest_go_first(clock: Clock, engine: EchoEngine) -> None:
    streams = await streams_with(clock, finished_logs_max_bytes=100_000)
    made = [streams.open(engine, a_generation(), 15) for _ in range(20)]
    for stream in made:
        finish(stream, "x" * 20_000)
        streams.sweep()
        assert streams.finished_bytes <= 100_000
    kept = [stream for stream in made if streams.find(stream.id, "me")]
    assert kept == made[-4:]


async def test_finished_logs_stay_within_their_number(clock: Clock, engine: EchoEngine) -> None:
    streams = await streams_with(clock, finished_logs_max=5)
    made = [streams.open(engine, a_generation(), 15) for _ in range(20)]
    for stream in made:
        finish(stream)
        streams.sweep()
    assert [stream for stream in made if streams.find(stream.id, "me")] == made[-5:]


async def test_a_running_stream_is_never_forgotten(clock: Clock, engine: EchoEngine) -> None:
    streams = await streams_with(clock, finished_log_ttl_s=0, finished_logs_max_bytes=0)
    stream = streams.open(engine, a_generation(), 15)
    clock.now += 10_000
    streams.sweep()
    assert streams.find(stream.id, "me") is stream


async def test_the_grace_begins_when_the_last_reader_goes(clock: Clock, engine: EchoEngine) -> None:
    streams = await streams_with(clock)
    stream = streams.open(engine, a_generation(), 15)
    with streams.reading(stream):
        assert stream.timer is None
        with streams.reading(stream):
            pass
        assert (stream.timer, stream.readers) == (None, 1)
    assert stream.timer is not None
    delay_s = stream.timer.when() - asyncio.get_running_loop().time()
    assert delay_s == pytest.approx(15, abs=0.5)
    with streams.reading(stream):
        assert stream.timer is None


async def test_without_a_grace_the_last_reader_takes_the_answer_along(clock: Clock, engine: EchoEngine) -> None:
    streams = await streams_with(clock)
    stream = streams.open(engine, a_generation(), 0)
    assert stream.timer is not None
    with streams.reading(stream):
        pass
    async with asyncio.timeout(60):
        while not stream.log.is_closed:
            await stream.log.read(stream.log.last_position)
    assert stream.timer is None


async def test_a_reader_that_fails_is_gone_too(clock: Clock, engine: EchoEngine) -> None:
    streams = await streams_with(clock)
    stream = streams.open(engine, a_generation(), 15)
    with pytest.raises(RuntimeError), streams.reading(stream):
        raise RuntimeError
    assert stream.readers == streams.readers == 0


async def test_a_ticket_is_kept_only_as_a_digest(clock: Clock, engine: EchoEngine) -> None:
    streams = await streams_with(clock, ticket_ttl_s=60)
    stream, other = (streams.open(engine, a_generation(), 0) for _ in range(2))
    text, expires_at = streams.issue_ticket(stream)
    secret = text.partition("~")[2]
    assert expires_at == 1060
    assert len(secret) >= 22
    assert secret not in repr(stream.ticket)
    assert streams.redeem(text, is_reconnect=False) is stream
    assert streams.redeem(f"{other.id}~{secret}", is_reconnect=True) is None
    assert streams.redeem(text + "x", is_reconnect=True) is None
    assert streams.redeem(f"{stream.id}~", is_reconnect=True) is None
    clock.now += 61
    assert streams.redeem(text, is_reconnect=False) is None
    assert streams.redeem(text, is_reconnect=True) is stream


async def test_a_refused_generation_leaves_no_stream(clock: Clock) -> None:
    streams = await streams_with(clock)
    engine = EchoEngine()
    engine.close(0)
    with pytest.raises(Exception, match="shutting down"):
        streams.open(engine, a_generation(), 15)
    assert streams.live == 0


async def test_started_stands_in_the_log_when_open_returns(clock: Clock, engine: EchoEngine) -> None:
    streams = await streams_with(clock)
    stream = streams.open(engine, a_generation(), 15)
    assert isinstance((await stream.log.read(-1))[0].event, Started)
