"""The linear layers of a step: one way for the few rows that decode, one for the many rows of a prompt.

Few rows are limited by reading the weights, so 4-bit weights run as they are. Many rows are limited by arithmetic,
where dense bfloat16 is several times as fast (docs/experiments.md), so a second, dense copy is kept for them.
Either way a row gets the same bits whatever rows come with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import torch
from torch.nn.functional import linear, pad

from streaming.engines.torch.quantize import Q4_1, Int4Linear, Room, can_run, dequantize, stack
from streaming.engines.torch.weights import Weight, spread

BLOCK_ROWS = 128 if torch.cpu.get_capabilities().get("amx_tile") else 64
"""Prompt rows are multiplied in blocks of this many: the library's choice of a kernel, and with it how a row is
rounded, depends on their number. A short prompt pays for a whole block; with AMX a long block costs little more."""
Rows: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Product:
    few: Rows
    many: Rows

    def __call__(self, rows: torch.Tensor, few: int) -> torch.Tensor:
        """The first `few` rows decode, the others read prompts."""
        if few == len(rows):
            return self.few(rows)
        if few == 0:
            return self.many(rows)
        return torch.cat((self.few(rows[:few]), self.many(rows[few:])))


@dataclass(frozen=True, slots=True)
class Format:
    """How weights are run. `has_dense_copy` also keeps 4-bit weights spread out, for prompts."""

    dtype: torch.dtype
    device: torch.device
    quantized: bool
    has_dense_copy: bool
    room: Room = field(default_factory=Room)

    def product(self, weights: Sequence[Weight]) -> Product:
        """One product of several weights, stacked."""
        quantized = [weight for weight in weights if isinstance(weight, Q4_1)]
        if self.quantized and len(quantized) == len(weights):
            stacked = stack(quantized)
            if can_run(stacked, self.dtype, self.device):
                return self._in_4_bits(stacked)
        dense = self._dense(weights)
        return Product(partial(times_few, dense), partial(times_many, dense))

    def _in_4_bits(self, weight: Q4_1) -> Product:
        values = weight.values(self.room)
        few = Int4Linear(weight, values).forward
        if not self.has_dense_copy:
            return Product(few, few)
        return Product(few, partial(times_many, dequantize(weight, values, self.dtype, self.room).to(self.device)))

    def _dense(self, weights: Sequence[Weight]) -> torch.Tensor:
        spreads = [spread(weight, self.dtype, self.room) for weight in weights]
        return (spreads[0] if len(spreads) == 1 else torch.cat(spreads)).to(self.device)


def times_few(weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """With the weight on the left the library reads it once and faster, and rounds each row alike."""
    if len(rows) == 1:
        return torch.mv(weight, rows[0]).unsqueeze(0)
    return torch.mm(weight, rows.t()).t().contiguous()


def times_many(weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    padded = pad(rows, (0, 0, 0, -len(rows) % BLOCK_ROWS))
    return torch.cat([linear(block, weight) for block in padded.view(-1, BLOCK_ROWS, rows.shape[1])])[: len(rows)]
