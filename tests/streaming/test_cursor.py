"""What a late reader may skip, and what it may not."""

import asyncio

import pytest

from streaming.cursor import MERGED_CHARS_MAX, batches, condense
from streaming.events import ChosenLogprob, Delta, Event, Finished, Progress, Queued, Timings, Usage
from streaming.log import Entry
from streaming.logs.memory import MemoryLog, Waker

END = Finished("stop", Usage(1, 1), Timings(0, 0, 0, 0))


def placed(*events: Event) -> list[Entry]:
    return [Entry(place, event) for place, event in enumerate(events, 5)]


def test_neighbouring_deltas_become_one_at_the_last_place() -> None:
    choice = ChosenLogprob("a", -1.0)
    merged = condense(placed(Delta("a", 1, (choice,)), Delta("", 2), Delta("b", 1, (choice,)), END))
    assert merged == [Entry(7, Delta("ab", 4, (choice, choice))), Entry(8, END)]


def test_a_place_in_the_queue_that_has_passed_is_not_told() -> None:
    waiting = placed(Queued(3, None), Queued(2, None), Progress("prefill", 1, 2), Delta("a"))
    assert condense(waiting) == [waiting[-1]]
    assert condense(waiting[:2]) == [waiting[1]]
    assert condense(waiting[:3]) == [waiting[2]]


def test_an_empty_delta_is_not_shown_but_one_with_logprobs_is() -> None:
    assert condense(placed(Delta("", 1))) == []
    shown = placed(Delta("", 1, (ChosenLogprob("a", -1.0),)))
    assert condense(shown) == shown


@pytest.mark.parametrize("size", [1, 1000, MERGED_CHARS_MAX, MERGED_CHARS_MAX + 1])
def test_a_merged_delta_has_a_limit_and_nothing_is_lost(size: int) -> None:
    entries = placed(*(Delta(str(number % 10) * size) for number in range(40)))
    merged = condense(entries)
    texts = [entry.event.text for entry in merged if isinstance(entry.event, Delta)]
    assert "".join(texts) == "".join(str(number % 10) * size for number in range(40))
    assert max(map(len, texts)) <= max(MERGED_CHARS_MAX, size)
    assert merged[-1].position == entries[-1].position


async def test_silence_is_told_also_while_nothing_can_be_shown() -> None:
    """A token that shows no text must neither keep the sign of life away nor put it off."""
    log = MemoryLog(Waker(asyncio.get_running_loop()))
    reading = batches(log, -1, 0.6)
    waiting = asyncio.ensure_future(anext(reading))
    started = asyncio.get_running_loop().time()
    asyncio.get_running_loop().call_later(0.4, log.append, Delta("", 1))
    assert await waiting == []
    assert 0.55 <= asyncio.get_running_loop().time() - started <= 0.9
    log.append(Delta("a"), END)
    assert [entry.event for entry in await anext(reading)][-1] == END
    with pytest.raises(StopAsyncIteration):
        await anext(reading)
