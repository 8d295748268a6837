"""The promises of `streaming.log.Log`, proved for every log in `LOGS`."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from streaming.events import ChosenLogprob, Delta, Event, Failed, Finished, Queued, Timings, TokenLogprob, Usage
from streaming.log import Log
from streaming.logs.memory import TEXT_CHARS_MAX, TEXTS_MAX, MemoryLog, Texts, Waker

LOGS: dict[str, Callable[[], Log]] = {"memory": lambda: MemoryLog(Waker(asyncio.get_running_loop()))}
END = Finished("stop", Usage(1, 1), Timings(0, 0, 0, 0))
DEADLINE_S = 60.0


@pytest.fixture(params=list(LOGS))
async def log(request: pytest.FixtureRequest) -> Log:
    return LOGS[request.param]()


async def read_all(log: Log) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(DEADLINE_S):
        while not (log.is_closed and len(events) == log.last_position + 1):
            events.extend(entry.event for entry in await log.read(len(events) - 1))
    return events


async def test_an_empty_log_has_no_position_and_is_open(log: Log) -> None:
    assert (log.last_position, log.is_closed) == (-1, False)


async def test_positions_grow_by_one_from_0(log: Log) -> None:
    log.append(Delta("a"), Delta("b"))
    log.append(END)
    assert [entry.position for entry in await log.read(-1)] == [0, 1, 2]
    assert (log.last_position, log.is_closed) == (2, True)


@pytest.mark.parametrize("after", [-2, -1, 0, 1, 2, 3, 10**30])
async def test_read_gives_everything_after_a_position(log: Log, after: int) -> None:
    log.append(Delta("a"), Delta("b"), END)
    expected = [position for position in range(3) if position > after]
    assert [entry.position for entry in await log.read(after, 0.01)] == expected


async def test_a_log_gives_back_what_it_was_given(log: Log) -> None:
    chosen = (ChosenLogprob("a", -0.5, (TokenLogprob("b", -1.5),)),)
    given: list[Event] = [
        Delta("a"),
        Delta(""),
        Delta("two", 2),
        Delta("a", 1, chosen),
        Delta("a"),
        Queued(1, None),
        END,
    ]
    log.append(*given)
    assert [entry.event for entry in await log.read(-1)] == given


def test_texts_are_shared_while_they_are_few_and_short() -> None:
    texts, first = Texts(), "".join(["to", "ken"])
    assert texts.shared(first) is first
    assert texts.shared("".join(["to", "ken"])) is first
    long = "x" * (TEXT_CHARS_MAX + 1)
    assert texts.shared(long) == long
    for number in range(TEXTS_MAX):
        texts.shared(str(number))
    again = "".join(["to", "ken"])
    assert texts.shared(again) is again


async def test_nothing_is_appended_after_the_end(log: Log) -> None:
    log.append(Delta("a"), END, Delta("late"))
    log.append(Failed("step_failed", "late", retryable=False))
    assert [entry.event for entry in await log.read(-1)] == [Delta("a"), END]


async def test_read_waits_for_the_first_new_event(log: Log) -> None:
    log.append(Delta("a"))
    reading = asyncio.create_task(log.read(0))
    await asyncio.sleep(0)
    assert not reading.done()
    log.append(Delta("b"))
    async with asyncio.timeout(DEADLINE_S):
        assert [entry.event for entry in await reading] == [Delta("b")]


async def test_an_event_that_was_read_wakes_nobody_again(log: Log) -> None:
    log.append(Delta("a"))
    assert len(await log.read(-1)) == 1
    reading = asyncio.create_task(log.read(0))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(reading), 0.05)
    log.append(END)
    async with asyncio.timeout(DEADLINE_S):
        assert len(await reading) == 1


async def test_read_of_a_silent_log_times_out_empty(log: Log) -> None:
    async with asyncio.timeout(DEADLINE_S):
        assert await log.read(-1, 0.01) == []


async def test_a_closed_log_never_waits(log: Log) -> None:
    log.append(END)
    async with asyncio.timeout(DEADLINE_S):
        assert await log.read(0) == []


async def test_a_cancelled_reader_harms_nobody(log: Log) -> None:
    gone, staying = asyncio.create_task(log.read(-1)), asyncio.create_task(log.read(-1))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    log.append(END)
    async with asyncio.timeout(DEADLINE_S):
        assert len(await staying) == 1


async def test_many_readers_see_what_another_thread_writes(log: Log) -> None:
    """20,000 events written as fast as a thread can, 50 readers: each reads all, once, in order."""
    written = [Delta(str(number)) for number in range(20_000)]

    def write() -> None:
        for start in range(0, len(written), 7):
            log.append(*written[start : start + 7])
        log.append(END)

    writer = threading.Thread(target=write)
    writer.start()
    everything = await asyncio.gather(*(read_all(log) for _ in range(50)))
    writer.join()
    assert all(events == [*written, END] for events in everything)


async def test_a_batch_of_logs_wakes_the_loop_once() -> None:
    """32 logs that change in one step of an engine must not cross to the event loop 32 times."""
    loop = asyncio.get_running_loop()
    crossings = 0

    class CountingLoop:
        def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
            nonlocal crossings
            crossings += 1
            loop.call_soon_threadsafe(callback)

        def __getattr__(self, name: str) -> object:
            return getattr(loop, name)

    waker = Waker(CountingLoop())  # type: ignore[arg-type]  # a loop as far as the waker needs one
    logs = [MemoryLog(waker) for _ in range(32)]
    readers = [asyncio.create_task(log.read(-1)) for log in logs]
    await asyncio.sleep(0)
    for log in logs:
        log.append(Delta("a"))
    async with asyncio.timeout(DEADLINE_S):
        assert [len(entries) for entries in await asyncio.gather(*readers)] == [1] * 32
    assert crossings == 1
