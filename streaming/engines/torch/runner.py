"""Computes one step: the next tokens of many sequences in one forward pass.

The tokens of all spans are packed into one row. Everything but attention treats them as independent; attention is
ours and keeps them apart (`attention.py`). When a pass raises, its spans are run again one by one, so only the one
that is to blame fails.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import torch

from streaming.engines.torch.arena import round_up
from streaming.engines.torch.attention import PackedAttention, StepLayout, decode_calls, prefill_calls
from streaming.engines.torch.memory import CacheMemory
from streaming.engines.torch.scheduler import Span
from streaming.engines.torch.sequence import Sequence

FLOAT32_ROWS = 4
"""The CPU's float32 product takes rows by four, and what is left over on another path that rounds differently. Padding
to whole fours keeps a sequence's numbers the same whether it runs alone or in company."""


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
        self._row_multiple = FLOAT32_ROWS if network.dtype == torch.float32 and self._device.type == "cpu" else 1

    @property
    def capacity_tokens(self) -> int:
        return self._memory.capacity_tokens

    def reserve(self, sequence: Sequence, running: Iterable[Sequence]) -> bool:
        return self._memory.reserve(sequence, running)

    def release(self, sequence: Sequence, *, is_tainted: bool) -> None:
        self._memory.release(sequence, is_tainted=is_tainted)

    def step(self, spans: list[Span]) -> StepResult:
        try:
            return self._forward(spans)
        except Exception as error:  # noqa: BLE001  whatever a model raises must not end the other sequences
            if len(spans) == 1:
                return StepResult(failures=[(spans[0], error)])
        return _merge([self.step([span]) for span in spans])

    def _forward(self, spans: list[Span]) -> StepResult:
        ordered = sorted(spans, key=lambda span: (not span.is_decode, span.sequence.region))
        tokens = list(itertools.chain.from_iterable(s.sequence.tokens[s.start : s.end] for s in ordered))
        positions = list(itertools.chain.from_iterable(range(s.start, s.end) for s in ordered))
        padding = -len(tokens) % self._row_multiple
        self._attention.begin(self._layout(ordered, padding))
        wanted, rows = _wanted_rows(ordered)
        logits = self._network(
            self._tensor(tokens + [0] * padding), self._tensor(positions + [0] * padding), self._keep(rows)
        )
        return StepResult(spans=wanted, logits=logits[: len(rows)] if rows else None)

    def _keep(self, rows: list[int]) -> torch.Tensor:
        """Rows whose logits are computed; at least one, which is then ignored."""
        count = round_up(max(len(rows), 1), self._row_multiple)
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
