"""Computes one step: the next tokens of many sequences in one forward pass.

The tokens of all spans are packed into one row. Everything but attention treats them as independent; attention is
ours and keeps them apart (`attention.py`). When a pass raises, its spans are run again one by one, so only the one
that is to blame fails.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch

from streaming.engines.torch.attention import PackedAttention, StepLayout, decode_calls, prefill_calls
from streaming.engines.torch.memory import CacheMemory
from streaming.engines.torch.prefixes import ALIGN_TOKENS
from streaming.engines.torch.scheduler import Span
from streaming.engines.torch.sequence import Sequence

EXACT_ROWS = 32
"""The CPU's float32 product chooses its way by the number of rows, and each way rounds differently. With passes of
exactly this many a sequence's numbers are the same whether it runs alone or in company."""


@dataclass(slots=True)
class StepResult:
    """Logits of the spans that wanted them, row by row, and the spans that raised."""

    spans: list[Span] = field(default_factory=list)
    logits: torch.Tensor | None = None
    failures: list[tuple[Span, Exception]] = field(default_factory=list)


class Runner(Protocol):
    """Owned by one thread. `reserve` before a sequence's first step, `release` after its last."""

    @property
    def capacity_tokens(self) -> int: ...

    def reserve(self, sequence: Sequence, running: Iterable[Sequence]) -> bool: ...

    def release(self, sequence: Sequence, *, is_tainted: bool) -> None: ...

    def step(self, spans: list[Span]) -> StepResult: ...


class Network(Protocol):
    """A model's layers: packed rows of tokens at their positions in, logits of the rows `keep` out."""

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def __call__(self, tokens: torch.Tensor, positions: torch.Tensor, keep: torch.Tensor) -> torch.Tensor: ...


class PackedRunner:
    def __init__(self, network: Network, attention: PackedAttention, memory: CacheMemory) -> None:
        self._network = network
        self._attention = attention
        self._memory = memory
        self._device = network.device
        self._is_exact = network.dtype == torch.float32 and self._device.type == "cpu"

    @property
    def capacity_tokens(self) -> int:
        return self._memory.capacity_tokens

    def reserve(self, sequence: Sequence, running: Iterable[Sequence]) -> bool:
        return self._memory.reserve(sequence, running)

    def release(self, sequence: Sequence, *, is_tainted: bool) -> None:
        self._memory.release(sequence, is_tainted=is_tainted)

    def step(self, spans: list[Span]) -> StepResult:
        try:
            if self._is_exact:
                return _merge([self._forward(group) for group in exact_groups(spans)])
            return self._forward(spans)
        except Exception as error:  # noqa: BLE001  whatever a model raises must not end the other sequences
            if len(spans) == 1:
                return StepResult(failures=[(spans[0], error)])
        return _merge([self.step([span]) for span in spans])

    def _forward(self, spans: list[Span]) -> StepResult:
        ordered = sorted(spans, key=lambda span: (not span.is_decode, span.sequence.region))
        tokens = list(itertools.chain.from_iterable(s.sequence.tokens[s.start : s.end] for s in ordered))
        positions = list(itertools.chain.from_iterable(range(s.start, s.end) for s in ordered))
        padding = EXACT_ROWS - len(tokens) if self._is_exact else 0
        self._attention.begin(self._layout(ordered, padding))
        wanted, rows = _wanted_rows(ordered)
        logits = self._network(
            self._tensor(tokens + [0] * padding), self._tensor(positions + [0] * padding), self._keep(rows)
        )
        return StepResult(spans=wanted, logits=logits[: len(rows)] if rows else None)

    def _keep(self, rows: list[int]) -> torch.Tensor:
        """Rows whose logits are computed; at least one, and what was not wanted is ignored."""
        count = EXACT_ROWS if self._is_exact else max(len(rows), 1)
        return self._tensor(rows + [0] * (count - len(rows)))

    def _layout(self, spans: list[Span], padding: int) -> StepLayout:
        decoding = [span for span in spans if span.is_decode]
        calls = decode_calls(decoding)
        row = len(decoding)
        for span in spans[len(decoding) :]:
            calls.extend(prefill_calls(span, row))
            row += span.end - span.start
        places = [
            span.sequence.region.start + position  # type: ignore[union-attr]  # a running sequence has its region
            for span in spans
            for position in range(span.start, span.end)
        ]
        places.extend(range(self._memory.scratch.start, self._memory.scratch.start + padding))
        return StepLayout(calls, self._tensor(places), len(decoding), padding)

    def _tensor(self, values: list[int]) -> torch.Tensor:
        return torch.tensor(values, device=self._device)


def exact_groups(spans: list[Span]) -> list[list[Span]]:
    """The same tokens in groups of at most `EXACT_ROWS`. Prompts are cut at the borders of attention blocks."""
    groups: list[list[Span]] = [[]]
    room = EXACT_ROWS
    for span in spans:
        for piece in _cut(span):
            rows = piece.end - piece.start
            if rows > room:
                groups.append([])
                room = EXACT_ROWS
            groups[-1].append(piece)
            room -= rows
    return groups


def _cut(span: Span) -> Iterator[Span]:
    borders = range(span.start // ALIGN_TOKENS * ALIGN_TOKENS + ALIGN_TOKENS, span.end, ALIGN_TOKENS)
    for start, end in itertools.pairwise((span.start, *borders, span.end)):
        yield Span(span.sequence, start, end)


def _wanted_rows(spans: list[Span]) -> tuple[list[Span], list[int]]:
    """The spans whose last token needs logits, and the packed row of that token."""
    ends = list(itertools.accumulate(span.end - span.start for span in spans))
    wanted = [(span, end - 1) for span, end in zip(spans, ends, strict=True) if span.wants_logits]
    return [span for span, _ in wanted], [row for _, row in wanted]


def _merge(results: list[StepResult]) -> StepResult:
    logits = [result.logits for result in results if result.logits is not None]
    return StepResult(
        spans=[span for result in results for span in result.spans],
        logits=torch.cat(logits) if logits else None,
        failures=[failure for result in results for failure in result.failures],
    )
