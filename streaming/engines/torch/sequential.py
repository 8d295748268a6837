"""The runner for models whose attention cannot be packed: each sequence has a cache of its own and its own pass.

Slower in company, but it asks nothing of a model that `generate` does not ask: sliding, chunked, linear and other
attention, learned biases, rotary embeddings that change with the length.
"""

from collections.abc import Iterable
from typing import Any

import torch
from transformers import DynamicCache

from streaming.engines.torch.runner import StepResult
from streaming.engines.torch.scheduler import Span
from streaming.engines.torch.sequence import Sequence


class SequentialRunner:
    def __init__(self, model: Any, capacity_tokens: int) -> None:
        self._model = model
        self._capacity_tokens = capacity_tokens
        self._caches: dict[Sequence, DynamicCache] = {}

    @property
    def capacity_tokens(self) -> int:
        return self._capacity_tokens

    def reserve(self, sequence: Sequence, running: Iterable[Sequence]) -> bool:
        used = sum(other.needed_tokens for other in self._caches)
        if used + sequence.needed_tokens > self._capacity_tokens:
            return False
        self._caches[sequence] = DynamicCache(config=self._model.config)
        return True

    def release(self, sequence: Sequence, *, is_tainted: bool) -> None:
        self._caches.pop(sequence, None)

    def step(self, spans: list[Span]) -> StepResult:
        result, rows = StepResult(), []
        for span in spans:
            try:
                logits = self._forward(span)
            except Exception as error:  # noqa: BLE001  whatever a model raises must not end the other sequences
                result.failures.append((span, error))
                continue
            if span.wants_logits:
                result.spans.append(span)
                rows.append(logits)
        result.logits = torch.stack(rows) if rows else None
        return result

    def _forward(self, span: Span) -> torch.Tensor:
        tokens = torch.tensor([span.sequence.tokens[span.start : span.end]], device=self._model.device)
        output = self._model(input_ids=tokens, past_key_values=self._caches[span.sequence], use_cache=True)
        logits: torch.Tensor = output.logits[0, -1]
        return logits
