"""The promises of `streaming.engine.Engine`, proved for every engine in `tests.contract.harness.HARNESSES`."""

import asyncio
import math
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

from streaming.engine import Engine
from streaming.errors import Overloaded, ShuttingDown
from streaming.events import Delta, Event, Failed, Finished, Progress, Queued, Started, is_last
from streaming.generation import Generation
from streaming.logs.memory import MemoryLog, Waker
from tests.contract.harness import HARNESSES, EngineHarness

DEADLINE_S = 60.0
FREED_WITHIN_S = 30.0  # within a step, that is; what is not freed runs for far longer
ENDLESS = 100_000  # tokens: more than any engine makes while a test runs
PROMPTS = ("The sea was", "One two three four", "Once upon a time there was", "A", "In the beginning", "Rain falls on")


@pytest.fixture(params=list(HARNESSES))
def harness(request: pytest.FixtureRequest) -> EngineHarness:
    return HARNESSES[request.param]()


@pytest.fixture
def engine(harness: EngineHarness) -> Iterator[Engine]:
    with opened(harness) as engine:
        yield engine


@pytest.fixture
async def new_log() -> Callable[[], MemoryLog]:
    waker = Waker(asyncio.get_running_loop())
    return lambda: MemoryLog(waker)


@contextmanager
def opened(harness: EngineHarness, **limits: int) -> Iterator[Engine]:
    engine = harness.open(**limits)
    try:
        yield engine
    finally:
        engine.close(0)


async def read_until(log: MemoryLog, is_found: Callable[[Event], bool]) -> list[Event]:
    """All events up to the first that is meant, or a failure after the deadline."""
    events: list[Event] = []
    async with asyncio.timeout(DEADLINE_S):
        while True:
            entries = await log.read(len(events) - 1)
            for entry in entries:
                assert entry.position == len(events)
                events.append(entry.event)
                if is_found(entry.event):
                    return events
            assert entries, f"the log ended without what was waited for: {events[-1:]}"


async def run(engine: Engine, generation: Generation, log: MemoryLog) -> list[Event]:
    engine.submit(generation, log)
    return await read_until(log, is_last)


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def end_of(events: Sequence[Event]) -> Finished:
    assert isinstance(events[-1], Finished), events[-1]
    return events[-1]


async def until(condition: Callable[[], bool], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  an engine tells nobody that its load changed
            await asyncio.sleep(0.002)


def is_delta(event: Event) -> bool:
    return isinstance(event, Delta)


def endless(harness: EngineHarness, prompt: str = "") -> Generation:
    return harness.generation(prompt, max_tokens=ENDLESS, min_tokens=ENDLESS)


async def test_submit_writes_started_at_position_0(
    harness: EngineHarness, engine: Engine, new_log: Callable[[], MemoryLog]
) -> None:
    generation, log = harness.generation(), new_log()
    engine.submit(generation, log)
    first = (await log.read(-1))[0]
    assert first.position == 0
    assert first.event == Started(
        generation.stream_id,
        generation.model,
        generation.model_version,
        len(generation.token_ids),
        generation.seed,
        generation.created,
    )
    await read_until(log, is_last)


async def test_a_log_has_one_start_one_end_and_nothing_after(
    harness: EngineHarness, engine: Engine, new_log: Callable[[], MemoryLog]
) -> None:
    generation, log = harness.generation(), new_log()
    events = await run(engine, generation, log)
    engine.cancel(generation.stream_id)
    assert [isinstance(event, Started) for event in events] == [True] + [False] * (len(events) - 1)
    assert [is_last(event) for event in events] == [False] * (len(events) - 1) + [True]
    assert all(isinstance(event, Queued | Progress | Delta) for event in events[1:-1])
    assert log.last_position == len(events) - 1
    assert await log.read(log.last_position, 0.05) == []


async def test_max_tokens_ends_with_length(
    harness: EngineHarness, engine: Engine, new_log: Callable[[], MemoryLog]
) -> None:
    events = await run(engine, harness.generation(max_tokens=7, min_tokens=7), new_log())
    end = end_of(events)
    assert end.finish_reason == "length"
    assert end.usage.completion_tokens == 7
    assert sum(event.tokens for event in events if isinstance(event, Delta)) <= 7


async def test_min_tokens_are_made(harness: EngineHarness, engine: Engine, new_log: Callable[[], MemoryLog]) -> None:
    events = await run(engine, harness.generation("A", max_tokens=40, min_tokens=30), new_log())
    assert end_of(events).usage.completion_tokens >= 30


async def test_the_same_generation_gives_the_same_text(
    harness: EngineHarness, engine: Engine, new_log: Callable[[], MemoryLog]
) -> None:
    texts = [text_of(await run(engine, harness.generation(), new_log())) for _ in range(3)]
    assert texts[0]
    assert texts == [texts[0]] * 3


@pytest.mark.parametrize("length", [1, 2, 5, 11])
async def test_nothing_from_a_stop_string_on_is_shown(
    harness: EngineHarness, engine: Engine, new_log: Callable[[], MemoryLog], length: int
) -> None:
    whole = text_of(await run(engine, harness.generation(), new_log()))
    stop = whole[len(whole) // 2 : len(whole) // 2 + length]
    events = await run(engine, harness.generation(stop=("never said", stop)), new_log())
    assert end_of(events).finish_reason == "stop"
    assert text_of(events) == whole[: whole.index(stop)]


async def test_a_stop_string_ends_the_text_also_before_min_tokens(
    harness: EngineHarness, engine: Engine, new_log: Callable[[], MemoryLog]
) -> None:
    whole = text_of(await run(engine, harness.generation(min_tokens=20), new_log()))
    stop = whole[len(whole) // 2 :][:3]
    events = await run(engine, harness.generation(min_tokens=20, stop=(stop,)), new_log())
    assert end_of(events).finish_reason == "stop"
    assert end_of(events).usage.completion_tokens < 20
    assert text_of(events) == whole[: whole.index(stop)]


async def test_a_beginning_of_a_stop_string_is_not_lost(
    harness: EngineHarness, engine: Engine, new_log: Callable[[], MemoryLog]
) -> None:
    """What was held back, because it might have become the stop string, is said when it does not."""
    whole = text_of(await run(engine, harness.generation(), new_log()))
    never = whole[-4:] + "never"
    assert text_of(await run(engine, harness.generation(stop=(never,)), new_log())) == whole


async def test_cancel_while_running_frees_the_slot(
    harness: EngineHarness, engine: Engine, new_log: Callable[[], MemoryLog]
) -> None:
    generation, log = endless(harness), new_log()
    engine.submit(generation, log)
    await read_until(log, is_delta)
    engine.cancel(generation.stream_id)
    engine.cancel(generation.stream_id)
    await until(lambda: engine.load.running == 0, FREED_WITHIN_S)
    events = await read_until(log, is_last)
    assert end_of(events).finish_reason == "cancelled"
    assert end_of(events).usage.completion_tokens >= 1


async def test_cancel_right_after_submit(
    harness: EngineHarness, engine: Engine, new_log: Callable[[], MemoryLog]
) -> None:
    for _ in range(20):
        generation, log = endless(harness), new_log()
        engine.submit(generation, log)
        engine.cancel(generation.stream_id)
        assert end_of(await read_until(log, is_last)).finish_reason == "cancelled"
    await until(lambda: engine.load.running == engine.load.waiting == 0, FREED_WITHIN_S)


async def test_cancel_of_an_unknown_stream_does_nothing(
    harness: EngineHarness, engine: Engine, new_log: Callable[[], MemoryLog]
) -> None:
    engine.cancel("s" + "0" * 32)
    assert end_of(await run(engine, harness.generation(), new_log())).finish_reason != "cancelled"


async def test_cancel_in_the_queue(harness: EngineHarness, new_log: Callable[[], MemoryLog]) -> None:
    with opened(harness, max_running=1, max_waiting=2) as engine:
        running, waiting, behind = endless(harness), endless(harness), harness.generation()
        logs = [new_log() for _ in range(3)]
        for generation, log in zip((running, waiting, behind), logs, strict=True):
            engine.submit(generation, log)
        await read_until(logs[0], is_delta)
        engine.cancel(waiting.stream_id)
        events = await read_until(logs[1], is_last)
        assert end_of(events).finish_reason == "cancelled"
        assert end_of(events).usage.completion_tokens == 0
        engine.cancel(running.stream_id)
        assert end_of(await read_until(logs[2], is_last)).finish_reason in ("stop", "length")


async def test_a_waiting_generation_is_told_its_place(harness: EngineHarness, new_log: Callable[[], MemoryLog]) -> None:
    with opened(harness, max_running=1, max_waiting=2) as engine:
        generations, logs = [endless(harness) for _ in range(3)], [new_log() for _ in range(3)]
        for generation, log in zip(generations, logs, strict=True):
            engine.submit(generation, log)
        await read_until(logs[1], lambda event: isinstance(event, Queued) and event.position == 1)
        await read_until(logs[2], lambda event: isinstance(event, Queued) and event.position == 2)
        engine.cancel(generations[0].stream_id)
        await read_until(logs[2], lambda event: isinstance(event, Queued) and event.position == 1)


async def test_a_full_queue_refuses_and_writes_nothing(
    harness: EngineHarness, new_log: Callable[[], MemoryLog]
) -> None:
    with opened(harness, max_running=1, max_waiting=1) as engine:
        first = new_log()
        engine.submit(endless(harness), first)
        await read_until(first, is_delta)
        engine.submit(endless(harness), new_log())
        assert (engine.load.running, engine.load.waiting) == (1, 1)
        refused = new_log()
        with pytest.raises(Overloaded) as error:
            engine.submit(harness.generation(), refused)
        assert error.value.retry_after_s >= 1
        assert refused.last_position == -1


async def test_company_changes_nothing(harness: EngineHarness, new_log: Callable[[], MemoryLog]) -> None:
    with opened(harness, max_running=8, max_waiting=32) as engine:
        alone = [text_of(await run(engine, harness.generation(prompt), new_log())) for prompt in PROMPTS]
        disturbers = [endless(harness, prompt) for prompt in PROMPTS]
        for disturber in disturbers[:4]:
            engine.submit(disturber, new_log())
        together = asyncio.gather(*(run(engine, harness.generation(prompt), new_log()) for prompt in PROMPTS))
        for disturber in disturbers:
            await asyncio.sleep(0)
            engine.cancel(disturber.stream_id)
        assert [text_of(events) for events in await together] == alone


async def test_a_poisoned_generation_fails_alone(harness: EngineHarness, new_log: Callable[[], MemoryLog]) -> None:
    with opened(harness, max_running=16) as engine:
        alone = text_of(await run(engine, harness.generation(), new_log()))
        poisoned = harness.poisoned()
        if poisoned is None:
            pytest.skip("this engine has no poison")
        runs = [run(engine, harness.generation(), new_log()) for _ in range(15)]
        *healthy, failed = await asyncio.gather(*runs, run(engine, poisoned, new_log()))
        assert isinstance(failed[-1], Failed)
        assert failed[-1].code in ("non_finite_logits", "step_failed", "out_of_memory")
        assert [text_of(events) for events in healthy] == [alone] * 15
        await until(lambda: engine.load.running == 0, FREED_WITHIN_S)


async def test_logprobs_and_confidence_belong_to_the_tokens(
    harness: EngineHarness, engine: Engine, new_log: Callable[[], MemoryLog]
) -> None:
    events = await run(engine, harness.generation(logprobs=3, wants_confidence=True, max_tokens=8), new_log())
    shown = [one for event in events if isinstance(event, Delta) for one in event.logprobs]
    end = end_of(events)
    assert 1 <= len(shown) <= end.usage.completion_tokens
    assert all(one.logprob <= 0 and len(one.top) == 3 for one in shown)
    assert all(
        [other.logprob for other in one.top] == sorted((o.logprob for o in one.top), reverse=True) for one in shown
    )
    assert end.confidence is not None
    assert 0 < end.confidence <= 1
    if len(shown) == end.usage.completion_tokens:
        mean = sum(one.logprob for one in shown) / len(shown)
        assert end.confidence == pytest.approx(math.exp(mean), rel=1e-3)


async def test_no_logprobs_or_confidence_unless_asked_for(
    harness: EngineHarness, engine: Engine, new_log: Callable[[], MemoryLog]
) -> None:
    events = await run(engine, harness.generation(), new_log())
    assert end_of(events).confidence is None
    assert not any(event.logprobs for event in events if isinstance(event, Delta))


async def test_events_are_plain_data(harness: EngineHarness, engine: Engine, new_log: Callable[[], MemoryLog]) -> None:
    events = await run(engine, harness.generation(logprobs=1, wants_confidence=True), new_log())
    assert pickle.loads(pickle.dumps(events)) == events


async def test_submit_and_cancel_come_from_any_thread(harness: EngineHarness, new_log: Callable[[], MemoryLog]) -> None:
    with opened(harness, max_running=4, max_waiting=64) as engine:
        generations = [harness.generation(max_tokens=3) for _ in range(32)]
        logs = [new_log() for _ in generations]

        def work(part: int) -> None:
            for index in range(part, 32, 8):
                engine.submit(generations[index], logs[index])
                if index % 3 == 0:
                    engine.cancel(generations[index].stream_id)

        threads = [threading.Thread(target=work, args=(part,)) for part in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for log in logs:
            end_of(await read_until(log, is_last))
        await until(lambda: engine.load.running == engine.load.waiting == 0, FREED_WITHIN_S)


async def test_close_lets_what_runs_finish(harness: EngineHarness, new_log: Callable[[], MemoryLog]) -> None:
    with opened(harness, max_running=1, max_waiting=4) as engine:
        logs = [new_log() for _ in range(3)]
        for log in logs:
            engine.submit(harness.generation(max_tokens=4), log)
        await asyncio.to_thread(engine.close, DEADLINE_S)
        assert engine.state == "closed"
        for log in logs:
            assert end_of(await read_until(log, is_last)).finish_reason in ("stop", "length")


async def test_close_fails_the_rest_after_the_grace(harness: EngineHarness, new_log: Callable[[], MemoryLog]) -> None:
    with opened(harness, max_running=1, max_waiting=1) as engine:
        running, waiting, late = new_log(), new_log(), new_log()
        engine.submit(endless(harness), running)
        await read_until(running, is_delta)
        engine.submit(endless(harness), waiting)
        started = time.monotonic()
        closing = asyncio.create_task(asyncio.to_thread(engine.close, 0.3))
        await until(lambda: engine.state == "draining", FREED_WITHIN_S)
        with pytest.raises(ShuttingDown):
            engine.submit(harness.generation(), late)
        await closing
        assert 0.25 <= time.monotonic() - started <= 30
        for log in (running, waiting):
            failed = (await read_until(log, is_last))[-1]
            assert isinstance(failed, Failed)
            assert (failed.code, failed.retryable) == ("shutting_down", True)
        assert late.last_position == -1
        assert engine.load.running == engine.load.waiting == 0


async def test_a_foreground_generation_goes_before_background_ones_that_wait(
    harness: EngineHarness, new_log: Callable[[], MemoryLog]
) -> None:
    with opened(harness, max_running=1) as engine:
        first, work, chat = new_log(), new_log(), new_log()
        running, waiting = endless(harness), endless(harness)
        engine.submit(running, first)
        await read_until(first, is_delta)
        engine.submit(replace(endless(harness), priority="background"), work)
        engine.submit(waiting, chat)
        engine.cancel(running.stream_id)
        await read_until(chat, is_delta)
        assert not any(is_delta(entry.event) for entry in await work.read(-1))
        engine.cancel(waiting.stream_id)
        await read_until(work, is_delta)


async def test_background_generations_leave_a_slot_and_a_place_to_foreground_ones(
    harness: EngineHarness, new_log: Callable[[], MemoryLog]
) -> None:
    with opened(harness, max_running=2, max_waiting=4) as engine:
        logs = [new_log() for _ in range(3)]
        for log in logs:
            engine.submit(replace(endless(harness), priority="background"), log)
        with pytest.raises(Overloaded):
            engine.submit(replace(endless(harness), priority="background"), new_log())
        await read_until(logs[0], is_delta)
        events = await run(engine, harness.generation(), new_log())
        assert isinstance(events[-1], Finished)
        assert not any(isinstance(event, Queued) for event in events)
        assert not any(log.is_closed for log in logs)


async def test_background_work_goes_on_beside_foreground_work(
    harness: EngineHarness, new_log: Callable[[], MemoryLog]
) -> None:
    with opened(harness, max_running=2) as engine:
        engine.submit(endless(harness), new_log())
        events = await run(engine, replace(harness.generation(), priority="background"), new_log())
        assert isinstance(events[-1], Finished)
