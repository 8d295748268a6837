"""A whole answer from a log: what `POST /predict` is, beside streaming."""

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from streaming.errors import Cancelled, GroundingFailed, Overloaded, StreamingError
from streaming.events import Citation, Delta, Event, Failed, Finished, GivenDocument, Started
from streaming.log import Log

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    finished: Finished
    documents: tuple[GivenDocument, ...] = ()
    citations: tuple[Citation, ...] = ()


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
    return Answer(
        text="".join(event.text for event in events if isinstance(event, Delta)),
        finished=last,
        documents=next((event.documents for event in events if isinstance(event, Started)), ()),
        citations=tuple(event for event in events if isinstance(event, Citation)),
    )


async def unless(work: Coroutine[Any, Any, Result], gone: Coroutine[Any, Any, None]) -> Result | None:
    """None when `gone` returns first: nobody waits for the result any more, and the work is cancelled."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(gone)
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def error_of(failed: Failed) -> StreamingError:
    """What files kept from being read has codes that are not known here."""
    known = {kind.code: kind for kind in kinds(StreamingError) if kind not in (Overloaded, GroundingFailed)}
    kind = known.get(failed.code)
    return kind(failed.message) if kind else GroundingFailed(failed.message, failed.code, retryable=failed.retryable)


def kinds(root: type[StreamingError]) -> Iterator[type[StreamingError]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)
