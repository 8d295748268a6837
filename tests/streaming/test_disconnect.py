"""Readers that go away: their slot is free within a second after the grace, and nothing of them stays."""

import asyncio
import gc
import re
from collections.abc import Iterator

import psutil
import pytest

from tests.parsers import EventStream, parse
from tests.raw import DEADLINE_S, Cut, connected, exchange, fetch, request_bytes, stream_path
from tests.server import RunningServer, echo_settings, serving, wait_until

CYCLES = 500
AT_ONCE = 25
FREED_WITHIN_S = 30.0  # a second is promised; here it counts that it is freed at all, on a machine however busy
PLACES = ("before headers", "queued", "prefill", "first token", "middle", "last")
CUT_KINDS: tuple[Cut, ...] = ("rst", "fin", "half")
POSITION_5 = re.compile(rb'\.([5-9]|\d\d+)\ndata: {"text"')  # or later: deltas merge for a late reader
POSITION_40 = re.compile(rb'\.([4-9]\d|\d{3,})\ndata: {"text"')
SIGNS: dict[str, bytes | re.Pattern[bytes]] = {
    "queued": b"event: queue",
    "prefill": b"event: progress",
    "first token": b'{"text"',
    "middle": POSITION_40,
    "last": b' three"',
}
LONG = "word [[echo repeat=100000 tps=100]]"


@pytest.fixture(scope="module")
def busy() -> Iterator[RunningServer]:
    settings = echo_settings(max_running=AT_ONCE, max_waiting=AT_ONCE, first_reader_grace_s=1.0)
    with serving(settings) as running:
        yield running


async def leave(server: RunningServer, place: str, cut: Cut) -> None:
    """One cycle: ask, read as far as the place, go."""
    path = stream_path("word [[echo prefill_ms=60000]]" if place == "prefill" else LONG, grace_s=0)
    if place == "last":
        path = stream_path("one two three four [[echo hang_at=3]]", grace_s=0)
    if place == "before headers":
        async with connected(server.port) as one:
            one.writer.write(request_bytes("GET", path, {}, b""))
            one.cut(cut)
            return
    async with exchange(server.port, "GET", path) as one:
        await one.read_until(SIGNS[place])
        one.cut(cut)
        async with asyncio.timeout(DEADLINE_S):
            await one.reader.read()


async def a_round(server: RunningServer, place: str, number: int) -> None:
    """As many at once as there are slots; then they are free again."""
    cuts = [CUT_KINDS[(number + index) % 3] for index in range(AT_ONCE)]
    if place == "queued":
        async with asyncio.TaskGroup() as blockers:
            stop = asyncio.Event()
            tasks = [blockers.create_task(hold(server, stop)) for _ in range(AT_ONCE)]
            await until_running(server, AT_ONCE)
            await asyncio.gather(*(leave(server, place, cut) for cut in cuts))
            await settled(server, running=AT_ONCE)
            stop.set()
            assert len(tasks) == AT_ONCE
    else:
        await asyncio.gather(*(leave(server, place, cut) for cut in cuts))
    await settled(server, running=0)


async def hold(server: RunningServer, stop: asyncio.Event) -> None:
    async with exchange(server.port, "GET", stream_path("word [[echo hang_at=0]]", grace_s=0)) as one:
        await stop.wait()
        one.cut("fin")


async def until_running(server: RunningServer, count: int) -> None:
    async with asyncio.timeout(60):
        while server.engine.load.running != count:  # noqa: ASYNC110  the server runs in another thread
            await asyncio.sleep(0.005)


async def settled(server: RunningServer, running: int) -> None:
    async with asyncio.timeout(FREED_WITHIN_S):
        while (server.engine.load.running, server.engine.load.waiting) != (running, 0):  # noqa: ASYNC110  as above
            await asyncio.sleep(0.005)


async def test_500_disconnects_leave_nothing_behind(busy: RunningServer) -> None:
    await a_round(busy, "middle", 0)
    wait_until(busy.is_idle, 5, "idle before")
    wait_until(lambda: not busy.uvicorn.server_state.connections, 5, "no connection before")
    tasks, files = busy.tasks(), psutil.Process().num_fds()
    rounds = CYCLES // AT_ONCE
    for number in range(rounds):
        await a_round(busy, PLACES[number % len(PLACES)], number)
    wait_until(busy.is_idle, 5, "idle after")
    wait_until(lambda: not busy.uvicorn.server_state.connections, 5, "no connection after")
    wait_until(lambda: busy.tasks() <= tasks, 5, "tasks at their baseline")
    gc.collect()
    assert psutil.Process().num_fds() <= files
    wait_until(lambda: busy.call(lambda: busy.streams.live) == 0, 5, "no stream is live")


async def test_no_step_is_made_after_the_grace(busy: RunningServer) -> None:
    async with exchange(busy.port, "GET", stream_path(LONG, grace_s=0)) as one:
        event = parse(await one.read_until(POSITION_5))[0]
        stream_id = event.json["stream_id"]
        one.cut("rst")
    await settled(busy, running=0)
    first = busy.call(lambda: stream_of(busy, stream_id).log.last_position)
    await asyncio.sleep(0.1)
    assert busy.call(lambda: stream_of(busy, stream_id).log.last_position) == first
    _, state = await fetch(busy.port, "GET", f"/chat/streams/{stream_id}")
    assert b'"state":"cancelled"' in state


def stream_of(server: RunningServer, stream_id: str):  # type: ignore[no-untyped-def]  # noqa: ANN201  a Stream
    stream = server.streams.find(stream_id, "anonymous")
    assert stream is not None
    return stream


async def test_the_grace_lets_a_reader_come_back(busy: RunningServer) -> None:
    prompt = "one two three four five six seven eight nine ten [[echo tps=20]]"
    async with exchange(busy.port, "GET", stream_path(prompt, grace_s=5)) as one:
        parser = EventStream()
        seen = parser.feed(await one.read_until(b'{"text"'))
        one.cut("rst")
    await asyncio.sleep(0.2)
    assert busy.engine.load.running == 1
    _, rest = await fetch(busy.port, "GET", "/chat/stream", {"Last-Event-ID": seen[-1].last_event_id})
    assert parse(rest)[-1].json["finish_reason"] == "stop"


@pytest.mark.parametrize(("method", "lives"), [("GET", True), ("POST", False)])
async def test_an_answer_waits_for_get_readers_and_not_for_post_readers(
    busy: RunningServer, method: str, lives: bool
) -> None:
    path, payload = (stream_path(LONG), None) if method == "GET" else ("/chat/stream", {"prompt": LONG})
    async with exchange(busy.port, method, path, None, payload) as one:
        stream_id = parse(await one.read_until(b'{"text"'))[0].json["stream_id"]
        one.cut("rst")
    if lives:
        await asyncio.sleep(0.5)
        assert busy.engine.load.running == 1
        await fetch(busy.port, "DELETE", f"/chat/streams/{stream_id}")
    await settled(busy, running=0)


async def test_one_of_two_viewers_may_go(busy: RunningServer) -> None:
    prompt = "one two three four five six [[echo tps=20]]"
    async with exchange(busy.port, "GET", stream_path(prompt, grace_s=0)) as first:
        stream_id = parse(await first.read_until(b'{"text"'))[0].json["stream_id"]
        async with exchange(busy.port, "GET", f"/chat/streams/{stream_id}/events") as second:
            await second.read_until(b'{"text"')
            first.cut("rst")
            content = await second.read_until(b"event: end")
    assert b'"finish_reason":"stop"' in content + b""


async def test_a_predict_that_nobody_waits_for_is_cancelled(busy: RunningServer) -> None:
    for cut in CUT_KINDS:
        async with connected(busy.port) as one:
            body = b'{"text":"word [[echo repeat=10000 tps=10]]"}'
            one.writer.write(request_bytes("POST", "/predict", {"Content-Type": "application/json"}, body))
            await until_running(busy, 1)
            one.cut(cut)
            await settled(busy, running=0)


async def test_a_predict_in_the_queue_that_nobody_waits_for_is_cancelled(busy: RunningServer) -> None:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(hold(busy, stop))
        await until_running(busy, AT_ONCE)
        async with connected(busy.port) as one:
            one.writer.write(request_bytes("POST", "/predict/default?text=hello", {}, b""))
            async with asyncio.timeout(60):
                while busy.engine.load.waiting != 1:  # noqa: ASYNC110  the server runs in another thread
                    await asyncio.sleep(0.005)
            one.cut("fin")
            await settled(busy, running=AT_ONCE)
        stop.set()
    await settled(busy, running=0)
