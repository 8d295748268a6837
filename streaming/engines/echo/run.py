"""One generation on the echo engine, as a state that is advanced step by step. Knows no thread and no queue."""

import math
import zlib
from dataclasses import dataclass, field

from streaming.engines.echo.script import Script
from streaming.engines.echo.voice import Voice
from streaming.errors import GenerationFailed, NonFiniteLogits, StepFailed
from streaming.events import (
    ChosenLogprob,
    Delta,
    Event,
    Failed,
    Finished,
    FinishReason,
    Progress,
    Timings,
    TokenLogprob,
    Usage,
)
from streaming.generation import Generation
from streaming.log import Log

PREFILL_STEPS = 4


@dataclass(eq=False, slots=True)
class Run:
    """Times are seconds of the engine's clock. `is_over` once the log has its last event."""

    generation: Generation
    log: Log
    script: Script
    interval_s: float
    submitted_at: float
    voice: Voice
    admitted_at: float | None = None
    decoding_at: float | None = None
    is_cancelled: bool = False
    is_over: bool = False
    queue_place: int = 0
    prefill_steps: int = 0
    produced: int = 0
    logprob_sum: float = 0.0
    _unshown_tokens: int = 0
    _unshown_logprobs: list[ChosenLogprob] = field(default_factory=list)

    @property
    def is_background(self) -> bool:
        return self.generation.priority == "background"

    def advance(self, now: float) -> float | None:
        """Does what is due and returns the seconds until the next step; None waits for a cancel or is over."""
        if self.is_cancelled:
            self.finish("cancelled", now)
            return None
        if self.script.prefill_ms and self.prefill_steps < PREFILL_STEPS:
            return self._prefill()
        if self.decoding_at is None:
            self.decoding_at = now
        if self.produced == self.script.hang_at:
            if not self.produced:
                self.log.append(self._progress(len(self.generation.token_ids)))
            return None
        return self._decode(now)

    def _prefill(self) -> float:
        self.log.append(self._progress(len(self.generation.token_ids) * self.prefill_steps // PREFILL_STEPS))
        self.prefill_steps += 1
        return self.script.prefill_ms / 1000 / PREFILL_STEPS

    def _progress(self, done: int) -> Progress:
        return Progress("prefill", done, len(self.generation.token_ids))

    def _decode(self, now: float) -> float | None:
        self._break_if_scripted()
        token = self.script.token(self.produced)
        self.produced += 1
        text = self.voice.say(token)
        self._show(token, text)
        reason = self._end_reason()
        if reason is None:
            return self.interval_s
        self.finish(reason, now)
        return None

    def _break_if_scripted(self) -> None:
        if self.produced == self.script.fail_at:
            raise StepFailed("The step was told to fail by the prompt.")
        if self.produced == self.script.nonfinite_at:
            raise NonFiniteLogits("The prompt asked for numbers that are not finite.")

    def _end_reason(self) -> FinishReason | None:
        if self.voice.is_stopped:
            return "stop"
        if self.produced >= self.script.length and self.produced >= self.generation.min_tokens:
            return "stop"
        return "length" if self.produced >= self.generation.max_tokens else None

    def _show(self, token: bytes, text: str) -> None:
        logprob = math.log(probability(token))
        self.logprob_sum += logprob
        self._unshown_tokens += 1
        if self.generation.logprobs is not None:
            self._unshown_logprobs.append(choice(token, logprob, self.generation.logprobs))
        if text:
            self.log.append(self._delta(text))

    def _delta(self, text: str) -> Delta:
        delta = Delta(text, self._unshown_tokens, tuple(self._unshown_logprobs))
        self._unshown_tokens = 0
        self._unshown_logprobs.clear()
        return delta

    def finish(self, reason: FinishReason, now: float) -> None:
        rest = "" if self.voice.is_stopped else self.voice.rest()
        last: list[Event] = [self._delta(rest)] if rest or self._unshown_logprobs else []
        self.is_over = True
        self.log.append(*last, Finished(reason, self._usage(), self._timings(now), self._confidence()))

    def fail(self, error: GenerationFailed) -> None:
        self.is_over = True
        self.log.append(Failed(error.code, error.message, error.retryable))

    def _usage(self) -> Usage:
        return Usage(len(self.generation.token_ids), self.produced)

    def _timings(self, now: float) -> Timings:
        admitted = now if self.admitted_at is None else self.admitted_at
        decoding = now if self.decoding_at is None else self.decoding_at
        decode_s = max(now - decoding, 0.0)
        return Timings(
            queue_ms=round((admitted - self.submitted_at) * 1000, 3),
            prefill_ms=round((decoding - admitted) * 1000, 3),
            decode_ms=round(decode_s * 1000, 3),
            tokens_per_second=round(self.produced / decode_s, 3) if decode_s > 0 else 0.0,
        )

    def _confidence(self) -> float | None:
        if not self.generation.wants_confidence or not self.produced:
            return None
        return math.exp(self.logprob_sum / self.produced)


def probability(token: bytes) -> float:
    """A number in [0.5, 1] that belongs to the token: the echo is always fairly sure."""
    return 0.5 + (zlib.crc32(token) % 1001) / 2000


def choice(token: bytes, logprob: float, count: int) -> ChosenLogprob:
    text = token.decode(errors="replace")
    top = tuple(TokenLogprob(text + "'" * index, logprob - index) for index in range(count))
    return ChosenLogprob(text, logprob, top)
