"""Answers from files: a stream that first reads, then generates, then cites, with one log and one id all the way."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from streaming.errors import GroundingFailed, GroundingTimedOut, Overloaded, PromptTooLong, ShuttingDown, StreamingError
from streaming.events import Citation, Delta, Event, Failed, Finished, GivenDocument, Progress, Started, Timings, Usage
from streaming.generation import Generation
from streaming.grounding import Ask, Cite, Grounding
from streaming.log import Entry, Log
from streaming.predictor import Predictor, TextRequest

RETRY_AFTER_S = 5
MARGIN_TOKENS = 16  # texts that are joined may have a few tokens more than each of them alone
CANCELLED = Finished("cancelled", Usage(0, 0), Timings(0, 0, 0, 0))
LEAVING = Failed(ShuttingDown.code, "The service is shutting down.", retryable=True)
_log = logging.getLogger("headwater.reading")


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """`max_reading` read at once, `max_waiting` wait; both for all callers together."""

    max_reading: int = 4
    max_waiting: int = 64
    read_timeout_s: float = 120.0
    cite_timeout_s: float = 5.0
    room_tokens: int = 2048
    least_room_tokens: int = 64


class Readings:
    """Everything that is being read or cited. Used on one event loop."""

    def __init__(self, grounding: Grounding, limits: ReadingLimits) -> None:
        self.grounding = grounding
        self.limits = limits
        self.places = asyncio.Semaphore(limits.max_reading)
        self._reading: set[asyncio.Task[None]] = set()
        self._citing: set[asyncio.Task[Sequence[Citation]]] = set()
        self.is_leaving = False

    @property
    def reading(self) -> int:
        return len(self._reading)

    def refuse_excess(self) -> None:
        if self.is_leaving:
            raise ShuttingDown(LEAVING.message)
        if len(self._reading) >= self.limits.max_reading + self.limits.max_waiting:
            raise Overloaded("Too many answers wait for files that are being read.", RETRY_AFTER_S)

    def add_reading(self, task: "asyncio.Task[None]") -> None:
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    def add_citing(self, task: "asyncio.Task[Sequence[Citation]]") -> None:
        self._citing.add(task)
        task.add_done_callback(self._citing.discard)

    async def finish_reading(self, grace_s: float) -> None:
        """What is still being read after the grace fails with `shutting_down`; new ones are refused then."""
        if self._reading and grace_s > 0:
            await asyncio.wait(self._reading, timeout=grace_s)
        self.is_leaving = True
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)

    async def finish_citing(self) -> None:
        await asyncio.gather(*self._citing, return_exceptions=True)


class Reader:
    """Starts one generation, as an engine does, after its files are read. Used on the event loop of its `readings`."""

    def __init__(
        self, readings: Readings, predictor: Predictor, request: TextRequest, upload_ids: Sequence[str]
    ) -> None:
        self._readings = readings
        self._predictor = predictor
        self._request = request
        self._upload_ids = upload_ids
        self._task: asyncio.Task[None] | None = None

    def submit(self, generation: Generation, log: Log) -> None:
        """`generation` is the question alone: what its files leave it, and its id. Raises what is known already."""
        self._readings.refuse_excess()
        room = self._room(generation)
        log.append(Progress("ingest", 0, len(self._upload_ids), "wait"))
        self._task = asyncio.get_running_loop().create_task(self._read(generation, room, log))
        self._task.add_done_callback(lambda task: self._end(task, log))
        self._readings.add_reading(self._task)

    def cancel(self, stream_id: str) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
        else:
            self._predictor.engine.cancel(stream_id)

    def _room(self, generation: Generation) -> int:
        limits, context = self._readings.limits, self._predictor.context_tokens
        free = context - len(generation.token_ids) - generation.max_tokens - MARGIN_TOKENS
        if free < limits.least_room_tokens:
            raise PromptTooLong(
                f"The prompt and the answer may have {len(generation.token_ids)} and {generation.max_tokens} tokens: "
                f"of the {context} that this model reads, they leave none for files."
            )
        return min(free, limits.room_tokens)

    async def _read(self, generation: Generation, room_tokens: int, log: Log) -> None:
        ask = Ask(self._request, generation.owner, self._upload_ids, room_tokens, self._predictor.count_tokens)
        limits = self._readings.limits
        try:
            async with asyncio.timeout(limits.read_timeout_s), self._readings.places:
                grounded = await self._readings.grounding.prepare(ask, log.append)
                request = replace(grounded.request, max_tokens=generation.max_tokens)
                prepared = await self._predictor.prepare(request, generation.owner)
        except TimeoutError:
            raise GroundingTimedOut(f"The files could not be read within {limits.read_timeout_s:g} s.") from None
        citing = CitingLog(log, grounded.documents, grounded.cite, self._readings)
        self._predictor.engine.submit(replace(generation, token_ids=prepared.token_ids), citing)

    def _end(self, task: "asyncio.Task[None]", log: Log) -> None:
        """Whatever kept it from being submitted; a task that is cancelled before its first step says nothing itself."""
        if task.cancelled():
            log.append(LEAVING if self._readings.is_leaving else CANCELLED)
        elif isinstance(error := task.exception(), StreamingError):
            log.append(Failed(error.code, error.message, error.retryable))
        elif error is not None:
            _log.error("an answer's files could not be read", exc_info=error)
            log.append(Failed(GroundingFailed.code, "The files could not be read.", retryable=False))


class CitingLog:
    """The engine's view of a log: what it appends is passed on, and before its `Finished` come the citations.

    Choosing them takes a moment, so the end waits for it; the engine does not, and its slot is free meanwhile.
    """

    def __init__(self, log: Log, documents: tuple[GivenDocument, ...], cite: Cite, readings: Readings) -> None:
        self._log = log
        self._documents = documents
        self._cite = cite
        self._readings = readings
        self._loop = asyncio.get_running_loop()
        self._texts: list[str] = []

    @property
    def last_position(self) -> int:
        return self._log.last_position

    @property
    def is_closed(self) -> bool:
        return self._log.is_closed

    async def read(self, after: int, timeout_s: float | None = None) -> Sequence[Entry]:
        return await self._log.read(after, timeout_s)

    def append(self, *events: Event) -> None:
        passed: list[Event] = []
        for event in events:
            match event:
                case Started():
                    passed.append(replace(event, documents=self._documents))
                case Finished(finish_reason="stop" | "length") if not self._loop.is_closed():
                    self._log.append(*passed)
                    self._loop.call_soon_threadsafe(self._finish, event)
                    return
                case _:
                    passed.append(event)
            if isinstance(event, Delta):
                self._texts.append(event.text)
        self._log.append(*passed)

    def _finish(self, finished: Finished) -> None:
        task = self._loop.create_task(self._choose())
        task.add_done_callback(lambda task: self._log.append(*([] if task.cancelled() else task.result()), finished))
        self._readings.add_citing(task)

    async def _choose(self) -> Sequence[Citation]:
        """Without them the answer is still the answer: what goes wrong is told in the log of the service."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._readings.limits.cite_timeout_s):
                return await self._cite("".join(self._texts))
        except TimeoutError:
            _log.warning("an answer has no citations: not chosen within %.1f s", time.monotonic() - started)
        except Exception:  # noqa: BLE001  the outermost place of a task; a broken end must not hang a reader
            _log.exception("an answer has no citations")
        return ()
