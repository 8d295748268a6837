"""R6: readers that take little or nothing harm only themselves: they are cut, cost little, and others notice nothing.

The slow ones read one long answer, so that what grows with each of them is the reader, not the answer that is kept.
"""

import asyncio
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from bench.gate import Seen, faults, read
from bench.wire import Address
from tests.parsers import EventStream
from tests.raw import Exchange, exchange
from tests.server import ServerProcess, server_process, wait_until
from tests.service.metrics.scrape import scrape

WORD = "x" * 63
WORDS = 128 * 1024  # with its space each has 64 bytes: 8 MiB together
SMALL_BUFFER = 4096
SLOW_BYTES = 1024  # a second
READER_BYTES_MAX = 256 * 1024
LOOK_S = 0.1
GENEROUS_S = 60.0


@dataclass(frozen=True)
class Size:
    """How many of each kind there are, and what the normal ones read."""

    each: int
    tokens: int
    rate: int
    send_timeout_s: float


@dataclass
class Slow:
    """What a reader of 1 KB a second has got."""

    events: EventStream = field(default_factory=EventStream)
    text: str = ""

    async def read(self, one: Exchange) -> None:
        """To the end of the connection, which the server makes."""
        try:
            while (content := await one.read_some(SLOW_BYTES)) is not None:
                self.text += "".join(e.json["text"] for e in self.events.feed(content) if e.name == "message")
                await asyncio.sleep(1)  # the reader's own pace: what is tested
        except ConnectionError:
            return


async def normal(server: ServerProcess, size: Size) -> list[Seen]:
    address = Address("127.0.0.1", server.port)
    return await asyncio.gather(*(read(address, number, size.tokens, size.rate) for number in range(size.each)))


def long_answer(server: ServerProcess) -> str:
    """The path of its events, once it is made."""
    body = {"prompt": f"{WORD} [[echo repeat={WORDS} tps=0]]", "max_tokens": WORDS}
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=GENEROUS_S) as client:
        path = f"/chat/streams/{client.post('/chat/streams', json=body).json()['stream_id']}"
        wait_until(lambda: client.get(path).json()["state"] == "finished", GENEROUS_S, "the long answer is made")
    return f"{path}/events"


async def weigh(server: ServerProcess, stop: asyncio.Event) -> int:
    process, most = psutil.Process(server.process.pid), 0
    while not stop.is_set():
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(LOOK_S)
    return most


async def beside_slow_readers(server: ServerProcess, size: Size) -> None:
    path, stop = long_answer(server), asyncio.Event()
    await normal(server, size)  # what they take of memory is not the slow ones'
    before = psutil.Process(server.process.pid).memory_info().rss
    weighing = asyncio.create_task(weigh(server, stop))
    async with AsyncExitStack() as stack:
        opened = [exchange(server.port, "GET", path, receive_buffer=SMALL_BUFFER) for _ in range(2 * size.each)]
        ones = await asyncio.gather(*(stack.enter_async_context(one) for one in opened))
        for one in ones[: size.each]:
            one.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a socket has it
        slow = [Slow() for _ in ones[size.each :]]
        reading = [asyncio.create_task(a.read(b)) for a, b in zip(slow, ones[size.each :], strict=True)]
        seen = await normal(server, size)
        await all_are_cut(server)
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    stop.set()
    wrong = sum((faults(one, size.tokens) for one in seen), Counter[str]())
    assert wrong.total() == 0, wrong
    assert all(one.text == (f"{WORD} " * WORDS)[: len(one.text)] for one in slow)
    each = (await weighing - before) / (2 * size.each)
    sys.stdout.write(f"\n{2 * size.each} slow readers, {each / 1024:.0f} KiB of the process for each\n")
    assert each <= READER_BYTES_MAX


async def all_are_cut(server: ServerProcess) -> None:
    """None of them has read to the end: 8 MiB at their pace take hours, so it is the timeout that ends them."""
    deadline = time.monotonic() + GENEROUS_S
    url = f"http://127.0.0.1:{server.port}"
    while readers := (await asyncio.to_thread(scrape, url)).value("readers"):
        assert time.monotonic() < deadline, f"{readers} readers are still there"
        await asyncio.sleep(LOOK_S)


def settings_of(size: Size) -> dict[str, object]:
    return {"send_timeout_s": size.send_timeout_s, "max_running": 2 * size.each, "finished_log_ttl_s": 600}


async def test_slow_readers_are_cut_cost_little_and_harm_nobody(tmp_path: Path) -> None:
    size = Size(each=20, tokens=20, rate=20, send_timeout_s=1.5)
    with server_process(tmp_path, **settings_of(size)) as server:
        await beside_slow_readers(server, size)


@pytest.mark.soak
async def test_100_that_never_read_and_100_that_read_1_kb_a_second_harm_no_100_others(tmp_path: Path) -> None:
    size = Size(each=100, tokens=300, rate=10, send_timeout_s=10)
    with server_process(tmp_path, **settings_of(size)) as server:
        await beside_slow_readers(server, size)
