"""Who runs in the next step, and with how many tokens. Pure bookkeeping: no torch, no clock, no thread.

A step computes one token for every sequence that decodes and spends its prefill budget evenly over those that still
read their prompt. Background sequences have few slots, and while people run they get a share of what people get:
their tokens are counted against a credit that grows with every token computed for somebody who waits for it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from streaming.engines.torch.prefixes import ALIGN_TOKENS
from streaming.engines.torch.sequence import Sequence
from streaming.engines.torch.waiting import Waiting

IDLE_PREFILL_FACTOR = 4
"""With nobody waiting for a next token, a longer chunk reads the prompt faster and stalls no one."""
BURST_TOKENS = 4
"""A fifth row beside four costs nearly as much as four more: measured, 19.7 ms, 25.4 ms and 28.3 ms. So background
decodes by fours in a few steps, rather than one by one in all."""
MAX_CREDIT_TOKENS = ALIGN_TOKENS
"""Enough to read one block of a prompt; more would only be a longer step for those who wait."""


@dataclass(frozen=True, slots=True)
class Span:
    """The next tokens of one sequence: `tokens[start:end]` at positions `start` to `end`."""

    sequence: Sequence
    start: int
    end: int

    @property
    def is_decode(self) -> bool:
        return self.sequence.is_decoding

    @property
    def wants_logits(self) -> bool:
        return self.end == len(self.sequence.tokens)


class Scheduler:
    """`max_background` slots may be taken by background sequences, which always leave one to the others.

    `background_share` is how many tokens they get for each token of the others, while others run.
    """

    def __init__(
        self, max_running: int, prefill_chunk_tokens: int, max_background: int = 16, background_share: float = 0.125
    ) -> None:
        self.max_running = max_running
        self._max_background = max(1, min(max_background, max_running - 1))
        self._background_share = background_share
        self._chunk_tokens = max(ALIGN_TOKENS, prefill_chunk_tokens // ALIGN_TOKENS * ALIGN_TOKENS)
        self._credit_tokens = 0.0
        self._waiting = Waiting()
        self.running: list[Sequence] = []

    @property
    def is_idle(self) -> bool:
        return not self.running and not self._waiting

    def add(self, sequence: Sequence) -> None:
        self._waiting.add(sequence)

    def waiting(self) -> Iterator[Sequence]:
        """In the order in which they will be admitted."""
        return iter(self._waiting)

    def admit(self, can_start: Callable[[Sequence], bool]) -> list[Sequence]:
        """Move waiting sequences to running, in order, until one does not fit: nobody overtakes it."""
        admitted = []
        while len(self.running) < self.max_running:
            has_background_slot = sum(s.is_background for s in self.running) < self._max_background
            sequence = self._waiting.first(may_be_background=has_background_slot)
            if sequence is None or not can_start(sequence):
                break
            self._waiting.take(sequence)
            self.running.append(sequence)
            admitted.append(sequence)
        return admitted

    def remove(self, sequence: Sequence) -> None:
        if sequence in self.running:
            self.running.remove(sequence)
        else:
            self._waiting.remove(sequence)

    def plan(self) -> list[Span]:
        foreground = [s for s in self.running if not s.is_background]
        background = [s for s in self.running if s.is_background]
        if not foreground:
            self._credit_tokens = 0.0
            return _plan(background, self._chunk_tokens)
        is_idle = not any(s.is_decoding for s in foreground)
        spans = _plan(foreground, self._chunk_tokens * (IDLE_PREFILL_FACTOR if is_idle else 1))
        return spans + self._plan_beside(spans, background) if background else spans

    def _plan_beside(self, foreground: list[Span], background: list[Sequence]) -> list[Span]:
        earned = self._background_share * _tokens(foreground)
        self._credit_tokens = min(self._credit_tokens + earned, MAX_CREDIT_TOKENS)
        decoding = _decode(background)
        if len(decoding) < min(BURST_TOKENS, len(background)):  # read until there is a burst to decode
            spans = _prefill(background, int(self._credit_tokens))
        else:
            burst = decoding[: max(BURST_TOKENS, int(earned))]
            spans = burst if len(burst) <= self._credit_tokens else []
        self._credit_tokens -= _tokens(spans)
        return spans


def _plan(sequences: list[Sequence], prefill_tokens: int) -> list[Span]:
    return _decode(sequences) + _prefill(sequences, prefill_tokens)


def _decode(sequences: list[Sequence]) -> list[Span]:
    return [Span(s, s.computed, s.computed + 1) for s in sequences if s.is_decoding]


def _prefill(sequences: list[Sequence], budget: int) -> list[Span]:
    reading = [s for s in sequences if not s.is_decoding]
    return [Span(s, s.computed, s.computed + tokens) for s, tokens in _share(reading, budget)]


def _share(prefilling: list[Sequence], budget: int) -> list[tuple[Sequence, int]]:
    """Share the budget evenly. The oldest is served first, so it always moves; then short rests, which soon speak."""
    shares = []
    in_turn = prefilling[:1] + sorted(prefilling[1:], key=_rest)
    for index, sequence in enumerate(in_turn):
        fair = budget // (len(in_turn) - index)
        aligned = max(ALIGN_TOKENS, fair // ALIGN_TOKENS * ALIGN_TOKENS)
        tokens = _rest(sequence) if _rest(sequence) <= fair else min(aligned, _rest(sequence))
        if tokens > budget:
            continue
        shares.append((sequence, tokens))
        budget -= tokens
    return shares


def _rest(sequence: Sequence) -> int:
    return len(sequence.tokens) - sequence.computed


def _tokens(spans: Iterable[Span]) -> int:
    return sum(span.end - span.start for span in spans)
