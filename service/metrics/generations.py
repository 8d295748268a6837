"""Counts generations by what is appended to their logs, on the engine's thread: two numbers a token, no more."""

import time

from service.metrics.metrics import Metrics
from streaming.events import Delta, Event, Failed, Finished, Started


class GenerationObserver:
    """`streaming.log.Observer` of one generation. Background work waits on purpose, so its times are left out."""

    __slots__ = ("_counted", "_is_background", "_last_at", "_metrics", "_started_at")

    def __init__(self, metrics: Metrics, *, is_background: bool = False) -> None:
        self._metrics = metrics
        self._is_background = is_background
        self._started_at: float | None = None
        self._last_at: float | None = None
        self._counted = 0

    def appended(self, event: Event) -> None:
        match event:
            case Delta(tokens=tokens):
                self._metrics.tokens_generated.inc(tokens)
                self._counted += tokens
                if not self._is_background:
                    self._time_delta(time.monotonic())
            case Started(prompt_tokens=prompt_tokens):
                self._started_at = time.monotonic()
                self._metrics.prompt_tokens.inc(prompt_tokens)
            case Finished(finish_reason=reason, usage=usage):
                silent = usage.completion_tokens - self._counted  # tokens that showed no text, as an end token
                self._metrics.tokens_generated.inc(max(silent, 0))
                self._end(reason)
            case Failed():
                self._end("failed")

    def _time_delta(self, now: float) -> None:
        if self._last_at is None:
            self._metrics.first_token_s.observe(now - (self._started_at or now))
        else:
            self._metrics.inter_token_s.observe(now - self._last_at)
        self._last_at = now

    def _end(self, reason: str) -> None:
        self._metrics.generations.labels(reason).inc()
        if self._started_at is not None and not self._is_background:  # it may fail while its files are read
            self._metrics.generation_s.observe(time.monotonic() - self._started_at)
