"""Attention over the packed tokens of one step: each sequence sees its own cached keys and nothing else.

A `StepLayout` says once per step which rows belong together; `PackedAttention.attend` then runs for every layer,
called by transformers' own modelling code through its attention interface. The shape of every call depends on one
sequence's own length alone (its bucket of `BLOCK_TOKENS`, its blocks of `ALIGN_TOKENS` prompt rows), so a sequence's
result does not depend, bit for bit, on what runs beside it, nor on which thread computes it (`WHOLE_ROWS`).
"""

from collections.abc import Sequence as Rows
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import pad, scaled_dot_product_attention

from streaming.engines.torch.arena import round_up
from streaming.engines.torch.cache import KeyValueCache
from streaming.engines.torch.prefixes import ALIGN_TOKENS
from streaming.engines.torch.scheduler import Span

WHOLE_ROWS = 8
"""Query rows come in multiples of this. On a CPU each thread works in a slice of one buffer that is as long as the rows
are many, and where it does not begin with a cache line, products round differently: a text changed with the thread."""
Masks = dict[int | None, torch.Tensor]
"""Additive masks by sliding window; None is full causal attention."""


@dataclass(slots=True)
class Call:
    """One attention call: packed rows `first` to `last`, over `count` regions of `length` keys, `stride` apart.

    `offsets` are the positions of its query rows: one per region in decode, consecutive ones of one region in prefill.
    """

    first: int
    last: int
    start: int
    stride: int
    count: int
    length: int
    offsets: list[int]
    masks: Masks = field(default_factory=dict)

    @property
    def is_decode(self) -> bool:
        return self.count == self.last - self.first

    def mask(self, window: int | None, groups: int, like: torch.Tensor) -> torch.Tensor:
        """Shape [count, 1, rows, length]: zero where a query may look, minus infinity elsewhere."""
        if window not in self.masks:
            self.masks[window] = self._make_mask(window, groups, like)
        return self.masks[window]

    def _make_mask(self, window: int | None, groups: int, like: torch.Tensor) -> torch.Tensor:
        rows = torch.tensor(self.offsets, device=like.device).unsqueeze(1)
        columns = torch.arange(self.length, device=like.device).unsqueeze(0)
        hidden = columns > rows
        if window is not None:
            hidden |= columns <= rows - window
        mask = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, float("-inf"))
        if self.is_decode:
            return mask.view(self.count, 1, 1, self.length)
        return _whole(mask.repeat(groups, 1).view(1, 1, -1, self.length))


@dataclass(slots=True)
class StepLayout:
    calls: list[Call]
    places: torch.Tensor
    """Where in the arena the keys and values of each packed row are written."""
    decode_rows: int
    """They come first; the rows after them read prompts."""
    padding: int
    """Rows at the end that belong to no sequence."""


def decode_calls(spans: Rows[Span]) -> list[Call]:
    """Spans must be sorted by region. Neighbours of equal bucket and equal distance share one call."""
    calls: list[Call] = []
    for row, span in enumerate(spans):
        region = span.sequence.region
        assert region is not None  # noqa: S101  a running sequence always has its region
        length = round_up(span.end)
        last = calls[-1] if calls else None
        if last and last.length == length and _continues(last, region.start):
            last.stride = (region.start - last.start) // last.count
            last.last, last.count = row + 1, last.count + 1
            last.offsets.append(span.start)
        else:
            calls.append(Call(row, row + 1, region.start, 0, 1, length, [span.start]))
    return calls


def _continues(call: Call, start: int) -> bool:
    return call.count == 1 or start == call.start + call.count * call.stride


def prefill_calls(span: Span, first_row: int) -> list[Call]:
    """One call for each block of prompt rows; a block reads the keys up to its own end."""
    region = span.sequence.region
    assert region is not None  # noqa: S101
    calls = []
    position = span.start
    while position < span.end:
        end = min(position // ALIGN_TOKENS * ALIGN_TOKENS + ALIGN_TOKENS, span.end)
        row = first_row + position - span.start
        length = round_up(end, ALIGN_TOKENS)
        calls.append(Call(row, row + end - position, region.start, 0, 1, length, list(range(position, end))))
        position = end
    return calls


@dataclass(frozen=True, slots=True)
class Scores:
    """How much a query takes of each key, where models differ."""

    scaling: float | None = None
    sliding_window: int | None = None
    softcap: float | None = None

    def weigh(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if not self.softcap:
            return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=self.scaling)
        scaling = self.scaling if self.scaling is not None else q.shape[-1] ** -0.5
        scores = torch.tanh(torch.matmul(q, k.transpose(-1, -2)) * scaling / self.softcap) * self.softcap + mask
        return torch.matmul(torch.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype), v)


PLAIN = Scores()


class PackedAttention:
    """Holds the layout of the step that runs now. Used by the owner thread alone."""

    def __init__(self, cache: KeyValueCache) -> None:
        self._cache = cache
        self._layout: StepLayout | None = None

    def begin(self, layout: StepLayout) -> None:
        self._layout = layout

    @property
    def decode_rows(self) -> int:
        assert self._layout is not None  # noqa: S101
        return self._layout.decode_rows

    def attend(  # noqa: PLR0917  the interface is transformers'
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        scaling: float | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        """`query` is [1, heads, rows, size]; the answer is [1, rows, heads, size] and no attention weights."""
        rows = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
        scores = Scores(scaling, sliding_window, softcap)
        return self.attend_rows(module.layer_idx, *rows, scores=scores).unsqueeze(0), None  # type: ignore[arg-type]

    def attend_rows(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scores: Scores = PLAIN
    ) -> torch.Tensor:
        """Everything is [rows, heads, size]. Stores the keys and values, then lets each row see its own sequence."""
        layout = self._layout
        assert layout is not None  # noqa: S101
        keys, values = self._cache.write(layer, layout.places, key.transpose(0, 1), value.transpose(0, 1))
        results = []
        for call in layout.calls:
            q = _queries(query[call.first : call.last], call, kv_heads=key.shape[1])
            mask = call.mask(scores.sliding_window, query.shape[1] // key.shape[1], query)
            result = scores.weigh(q, _view(keys, call), _view(values, call), mask)
            results.append(_rows(result, call, query.shape[1]))
        if layout.padding:
            results.append(query.new_zeros((layout.padding, query.shape[1], value.shape[-1])))
        return results[0] if len(results) == 1 else torch.cat(results)


def _queries(query: torch.Tensor, call: Call, kv_heads: int) -> torch.Tensor:
    """[rows, heads, size] -> [count, kv heads, group rows, size]: the heads that share a key head become rows."""
    rows, heads, size = query.shape
    if call.is_decode:
        return _whole(query.reshape(rows, kv_heads, heads // kv_heads, size))
    return _whole(query.transpose(0, 1).reshape(1, kv_heads, heads // kv_heads * rows, size))


def _whole(rows: torch.Tensor) -> torch.Tensor:
    """More rows, of zeros, behind those of the last but one dimension."""
    missing = -rows.shape[-2] % WHOLE_ROWS
    return pad(rows, (0, 0, 0, missing)) if missing else rows


def _rows(result: torch.Tensor, call: Call, heads: int) -> torch.Tensor:
    """The inverse of `_queries`: [rows, heads, size]."""
    rows, size = call.last - call.first, result.shape[-1]
    own = result[:, :, : heads * rows // (call.count * result.shape[1])]
    if call.is_decode:
        return own.reshape(rows, heads, size)
    return own.reshape(heads, rows, size).transpose(0, 1)


def _view(cache: torch.Tensor, call: Call) -> torch.Tensor:
    """[kv heads, arena, size] -> [count, kv heads, length, size] without copying."""
    kv_heads, places, size = cache.shape
    return cache.as_strided(
        (call.count, kv_heads, call.length, size), (call.stride * size, places * size, size, 1), call.start * size
    )
