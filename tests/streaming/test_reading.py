"""Streams that read files first: how they end when they are cancelled, left, fail, take too long, or must go."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from streaming.engines.echo import EchoEngine, EchoPredictor, EchoSpeed
from streaming.errors import GroundingFailed, Overloaded, PromptTooLong, ShuttingDown
from streaming.events import Citation, Event, Failed, Finished, GivenDocument, Progress, Started, is_last
from streaming.grounding import Ask, Grounded
from streaming.logs.memory import MemoryLog, Waker
from streaming.predictor import Message, TextRequest
from streaming.reading import Reader, ReadingLimits, Readings
from streaming.streams import Retention, Stream, Streams

DEADLINE_S = 60.0
GIVEN = GivenDocument("u1", "a.txt", "whole", 4, 4)
QUOTE = Citation("u1", "a.txt", None, 0, 4, "text")


@dataclass
class Shelf:
    """A `Grounding` that reads when it is told to."""

    may_read: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    cite_error: Exception | None = None
    answers: list[str] = field(default_factory=list)

    async def check(self, owner: str, upload_ids: Sequence[str]) -> None:
        pass

    async def prepare(self, ask: Ask, on_progress: Callable[[Progress], None]) -> Grounded:
        await self.may_read.wait()
        if self.error:
            raise self.error
        on_progress(Progress("ingest", 1, 1, "read", "u1", "a.txt"))
        messages = [Message("user", f"text {ask.request.messages[0].content}")]
        return Grounded(replace(ask.request, messages=messages), (GIVEN,), self.cite)

    async def cite(self, answer: str) -> Sequence[Citation]:
        self.answers.append(answer)
        if self.cite_error:
            raise self.cite_error
        return [QUOTE]


@dataclass
class Place:
    """Streams over an echo engine and a shelf."""

    shelf: Shelf
    readings: Readings
    predictor: EchoPredictor
    streams: Streams

    async def open(self, prompt: str = "word", grace_s: float = 15.0) -> Stream:
        request = TextRequest([Message("user", prompt)])
        reader = Reader(self.readings, self.predictor, request, ["u1"])
        return self.streams.open(reader, await self.predictor.prepare(request, "ann"), grace_s)


def place(**limits: float) -> Place:
    shelf, waker = Shelf(), Waker(asyncio.get_running_loop())
    readings = Readings(shelf, replace(ReadingLimits(), **limits))  # type: ignore[arg-type]  # numbers of either kind
    streams = Streams(lambda: MemoryLog(waker), Retention(first_reader_grace_s=0.05))
    return Place(shelf, readings, EchoPredictor(EchoEngine(EchoSpeed(0))), streams)


async def events_of(stream: Stream) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(DEADLINE_S):
        while not events or not is_last(events[-1]):
            events += [entry.event for entry in await stream.log.read(len(events) - 1)]
    return events


async def test_it_reads_then_starts_then_answers_then_cites_then_ends() -> None:
    here = place()
    here.shelf.may_read.set()
    stream = await here.open()
    events = await events_of(stream)
    kinds = list(dict.fromkeys(type(event).__name__ for event in events))
    assert kinds == ["Progress", "Started", "Delta", "Citation", "Finished"]
    started = next(event for event in events if isinstance(event, Started))
    assert (started.stream_id, started.documents) == (stream.id, (GIVEN,))
    assert events[-2] == QUOTE
    assert here.shelf.answers == ["text word"]


async def test_a_cancel_while_it_reads_ends_it_at_once() -> None:
    here = place()
    stream = await here.open()
    here.streams.cancel(stream)
    here.streams.cancel(stream)
    last = (await events_of(stream))[-1]
    assert isinstance(last, Finished)
    assert last.finish_reason == "cancelled"
    assert here.readings.reading == 0


async def test_a_cancel_after_it_has_read_reaches_the_engine() -> None:
    here = place()
    here.shelf.may_read.set()
    stream = await here.open("[[echo hang_at=2]] one two three four")
    async with asyncio.timeout(DEADLINE_S):
        while not here.predictor.engine.load.running:  # noqa: ASYNC110  an engine tells nobody that its load changed
            await asyncio.sleep(0.002)
    here.streams.cancel(stream)
    events = await events_of(stream)
    assert isinstance(events[-1], Finished)
    assert events[-1].finish_reason == "cancelled"
    assert not here.shelf.answers


async def test_nobody_reading_it_ends_it_after_its_grace() -> None:
    here = place()
    stream = await here.open(grace_s=0)
    last = (await events_of(stream))[-1]
    assert isinstance(last, Finished)
    assert last.finish_reason == "cancelled"


@pytest.mark.parametrize(
    ("error", "code"),
    [(GroundingFailed("It asks for a password.", "encrypted_document"), "encrypted_document"),
     (RuntimeError("secret"), "grounding_failed")],
)  # fmt: skip
async def test_what_goes_wrong_is_the_last_event(error: Exception, code: str) -> None:
    here = place()
    here.shelf.error = error
    here.shelf.may_read.set()
    last = (await events_of(await here.open()))[-1]
    assert isinstance(last, Failed)
    assert last.code == code
    assert "secret" not in last.message


async def test_reading_has_a_deadline() -> None:
    here = place(read_timeout_s=0.02)
    last = (await events_of(await here.open()))[-1]
    assert isinstance(last, Failed)
    assert (last.code, last.retryable) == ("grounding_timed_out", True)


async def test_an_answer_is_whole_also_when_it_cannot_be_quoted() -> None:
    here = place()
    here.shelf.cite_error = RuntimeError("broken")
    here.shelf.may_read.set()
    last = (await events_of(await here.open()))[-1]
    assert isinstance(last, Finished)
    assert last.finish_reason == "stop"


async def test_no_more_are_read_than_there_are_places() -> None:
    here = place(max_reading=1, max_waiting=1)
    first, second = await here.open(), await here.open()
    with pytest.raises(Overloaded):
        await here.open()
    here.shelf.may_read.set()
    assert isinstance((await events_of(first))[-1], Finished)
    assert isinstance((await events_of(second))[-1], Finished)
    assert here.readings.reading == 0


async def test_without_room_for_files_it_is_refused_before_anything_is_spent() -> None:
    here = place()
    here.predictor = replace(here.predictor, context_tokens=520)
    with pytest.raises(PromptTooLong):
        await here.open()
    assert here.streams.live == 0


async def test_a_service_that_leaves_lets_it_finish_within_the_grace() -> None:
    here = place()
    stream = await here.open()
    asyncio.get_running_loop().call_later(0.05, here.shelf.may_read.set)
    await here.readings.finish_reading(grace_s=DEADLINE_S)
    assert isinstance((await events_of(stream))[-1], Finished)
    with pytest.raises(ShuttingDown):
        await here.open()


async def test_a_service_that_leaves_at_once_says_so() -> None:
    here = place()
    stream = await here.open()
    await here.readings.finish_reading(grace_s=0)
    last = (await events_of(stream))[-1]
    assert isinstance(last, Failed)
    assert (last.code, last.retryable) == ("shutting_down", True)
