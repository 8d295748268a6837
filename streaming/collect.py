"""A whole answer from a log: what `POST /predict` is, beside streaming."""

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from streaming.errors import Cancelled, GenerationFailed, Overloaded, StreamingError
from streaming.events import Delta, Event, Failed, Finished
from streaming.log import Log


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    finished: Finished


async def collect(log: Log) -> Answer:
    """Reads to the end. Raises what the generation failed with, and `Cancelled` when it was cancelled."""
    events: list[Event] = []
    while not events or not isinstance(events[-1], Finished | Failed):
        events.extend(entry.event for entry in await log.read(len(events) - 1))
    last = events[-1]
    if isinstance(last, Failed):
        raise error_of(last)
    if last.finish_reason == "cancelled":
        raise Cancelled("The generation was cancelled before it was done.")
    return Answer("".join(event.text for event in events if isinstance(event, Delta)), last)


async def collect_unless(log: Log, gone: Coroutine[Any, Any, None]) -> Answer | None:
    """None when `gone` returns first: nobody waits for the answer any more."""
    reading, leaving = asyncio.create_task(collect(log)), asyncio.create_task(gone)
    try:
        await asyncio.wait((reading, leaving), return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else None
    finally:
        reading.cancel()
        leaving.cancel()
        await asyncio.gather(reading, leaving, return_exceptions=True)


def error_of(failed: Failed) -> StreamingError:
    known = {kind.code: kind for kind in kinds(StreamingError) if kind is not Overloaded}
    return known.get(failed.code, GenerationFailed)(failed.message)


def kinds(root: type[StreamingError]) -> Iterator[type[StreamingError]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)
