"""The owner thread of one model: the only place where the model runs.

Other threads put commands into its inbox. Each turn of its loop takes the commands, admits who fits, computes one
step, and appends what came out to the logs. Nothing here is shared, so nothing here is locked.
"""

import logging
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch

from streaming.engines.torch.output import Decoder, Output
from streaming.engines.torch.runner import Runner, StepResult
from streaming.engines.torch.sampler import Choice, Sampler
from streaming.engines.torch.scheduler import Scheduler, Span
from streaming.engines.torch.sequence import Sequence
from streaming.errors import GenerationFailed, OutOfMemory, ShuttingDown, StepFailed, StreamingError
from streaming.events import Event, Failed, Progress, Queued
from streaming.heart import Heart

logger = logging.getLogger(__name__)

LEARNING_RATE = 0.2


@dataclass(frozen=True, slots=True)
class Submit:
    sequence: Sequence


@dataclass(frozen=True, slots=True)
class Cancel:
    stream_id: str


@dataclass(frozen=True, slots=True)
class Close:
    """Finish what runs until `deadline` of the monotonic clock, then fail the rest."""

    deadline: float


Command: TypeAlias = Submit | Cancel | Close
Inbox: TypeAlias = "queue.SimpleQueue[Command]"


class Worker:
    """`on_end` is called once for every sequence that leaves. `run` returns after a `Close`."""

    def __init__(
        self,
        *,
        runner: Runner,
        sampler: Sampler,
        scheduler: Scheduler,
        decoder: Decoder,
        inbox: Inbox,
        on_end: Callable[[], None],
    ) -> None:
        self.heart = Heart()
        self._is_retired = False
        self._runner = runner
        self._sampler = sampler
        self._scheduler = scheduler
        self._decoder = decoder
        self._inbox = inbox
        self._on_end = on_end
        self._outputs: dict[str, Output] = {}
        self._deadline: float | None = None
        self._seconds_per_generation = 0.0

    @torch.inference_mode()
    def run(self) -> None:
        self.heart.begin()
        while not self._is_done():
            self.heart.beat()
            self._take_commands()
            self._admit()
            spans = self._scheduler.plan()
            if spans:
                self._step(spans)
        self.abandon(ShuttingDown("The service is shutting down; send the request again."))

    def retire(self) -> None:
        """Called from any thread: another worker has taken over, so a step that ends after all is the last one."""
        self._is_retired = True
        self._inbox.put(Close(time.monotonic()))

    def abandon(self, error: StreamingError) -> None:
        """Fail everything that is left, also what is still in the inbox. The model is not touched again."""
        self._drain_inbox()
        for output in self._outputs.values():
            self._scheduler.remove(output.sequence)
            self._on_end()
            output.sequence.log.append(_failed(error))
        self._outputs.clear()

    @property
    def running(self) -> int:
        return len(self._scheduler.running)

    def eta_ms(self, place: int) -> int | None:
        """On average a place becomes free every `seconds per generation / running` seconds."""
        if not self._seconds_per_generation or not self.running:
            return None
        return round(1000 * place * self._seconds_per_generation / self.running)

    def _is_done(self) -> bool:
        if self._is_retired:
            return True
        if self._deadline is None:
            return False
        return self._scheduler.is_idle or time.monotonic() >= self._deadline

    def _take_commands(self) -> None:
        """Wait for a command while there is nothing to compute; otherwise take what has come."""
        if self._scheduler.is_idle:
            self.heart.rest()
            self._obey(self._inbox.get())
            self.heart.beat()
        self._drain_inbox()

    def _drain_inbox(self) -> None:
        while True:
            try:
                self._obey(self._inbox.get_nowait())
            except queue.Empty:
                return

    def _obey(self, command: Command) -> None:
        match command:
            case Submit(sequence):
                self._outputs[sequence.stream_id] = Output(sequence, self._decoder)
                self._scheduler.add(sequence)
            case Cancel(stream_id):
                output = self._outputs.get(stream_id)
                if output:
                    self._end(output, output.finished("cancelled"), is_tainted=not output.sequence.is_decoding)
            case Close(deadline):
                self._deadline = deadline

    def _admit(self) -> None:
        running = self._scheduler.running
        for sequence in self._scheduler.admit(lambda candidate: self._runner.reserve(candidate, running)):
            sequence.clock.admitted = time.monotonic()
            sequence.log.append(Progress("prefill", sequence.computed, sequence.prompt_tokens))
        for place, sequence in enumerate(self._scheduler.waiting(), start=1):
            if place != sequence.queue_position:
                sequence.queue_position = place
                sequence.log.append(Queued(place, self.eta_ms(place)))

    def _step(self, spans: list[Span]) -> None:
        result = self._runner.step(spans)
        if self._is_retired:
            return
        failed = {span.sequence for span, _ in result.failures}
        for span in spans:
            if span.sequence not in failed:
                span.sequence.computed = span.end
                if not span.wants_logits:
                    span.sequence.log.append(Progress("prefill", span.end, span.sequence.prompt_tokens))
        for span, error in result.failures:
            self._fail(span.sequence, error)
        self._sample(result)

    def _sample(self, result: StepResult) -> None:
        if result.logits is None:
            return
        sequences = [span.sequence for span in result.spans]
        for sequence, choice in zip(sequences, self._sampler.choose(result.logits, sequences), strict=True):
            if isinstance(choice, Exception):
                self._fail(sequence, choice)
            else:
                self._accept(sequence, choice)

    def _accept(self, sequence: Sequence, choice: Choice) -> None:
        output = self._outputs[sequence.stream_id]
        try:
            last = output.accept(choice, self._sampler.end_tokens)
        except Exception as error:  # noqa: BLE001  one text that cannot be decoded must not end the others
            self._fail(sequence, error)
        else:
            if last:
                self._end(output, last, is_tainted=False)

    def _fail(self, sequence: Sequence, cause: Exception) -> None:
        failure = _as_failure(cause)
        logger.error("generation %s failed: %s", sequence.stream_id, failure.code, exc_info=cause)
        self._end(self._outputs[sequence.stream_id], _failed(failure), is_tainted=True)

    def _end(self, output: Output, last: Event, *, is_tainted: bool) -> None:
        sequence = output.sequence
        del self._outputs[sequence.stream_id]
        self._scheduler.remove(sequence)
        self._runner.release(sequence, is_tainted=is_tainted)
        if sequence.clock.admitted is not None and not sequence.is_background:
            self._learn_duration(time.monotonic() - sequence.clock.admitted)
        self._on_end()
        sequence.log.append(last)

    def _learn_duration(self, seconds: float) -> None:
        known = self._seconds_per_generation or seconds
        self._seconds_per_generation = known + LEARNING_RATE * (seconds - known)


def _failed(error: StreamingError) -> Failed:
    return Failed(error.code, error.message, error.retryable)


def _as_failure(error: Exception) -> GenerationFailed:
    if isinstance(error, GenerationFailed):
        return error
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return OutOfMemory("The model ran out of memory on this request.")
    return StepFailed("The model failed on this request.")
