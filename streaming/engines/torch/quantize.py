"""Linear layers over 4-bit weights in groups of 32, each group with a scale and a minimum (the GGUF's Q4_1).

The weights stay as the model file has them: nothing is quantised a second time. The product is torch's own CPU
kernel in bfloat16; a row's result does not depend on the other rows.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

GROUP = 32
ZERO_POINT = 8
OUTPUT_MULTIPLE = 16
"""The kernel works on blocks of this many outputs."""


class Room(threading.local):
    """Memory that a thread uses again for one weight after the other: fresh pages for each took longer than the
    arithmetic."""

    def __init__(self) -> None:
        self._kept: dict[torch.dtype, torch.Tensor] = {}

    def take(self, dtype: torch.dtype, count: int) -> torch.Tensor:
        """So many numbers, good until the next call for this type."""
        kept = self._kept.get(dtype)
        if kept is None or len(kept) < count:
            kept = self._kept[dtype] = torch.empty(count, dtype=dtype)
        return kept[:count]


@dataclass(frozen=True, slots=True)
class Q4_1:
    """A weight of [outputs, inputs]: two 4-bit values a byte, low half first; a scale and a minimum for each group."""

    packed: torch.Tensor
    scale: torch.Tensor
    minimum: torch.Tensor

    @property
    def outputs(self) -> int:
        return self.packed.shape[0]

    @property
    def inputs(self) -> int:
        return self.packed.shape[1] * 2

    def values(self, room: Room) -> torch.Tensor:
        """[outputs, inputs] of 0 to 15, in the room."""
        pairs = room.take(torch.int32, 2 * self.packed.numel()).view(self.outputs, -1, 2)
        torch.bitwise_and(self.packed, 15, out=pairs[..., 0])
        torch.bitwise_right_shift(self.packed, 4, out=pairs[..., 1])
        return pairs.flatten(1)


def stack(weights: Sequence[Q4_1]) -> Q4_1:
    """One weight with the outputs of all, in their order."""
    packed, scale, minimum = (
        torch.cat([getattr(weight, part) for weight in weights]) for part in ("packed", "scale", "minimum")
    )
    return Q4_1(packed, scale, minimum)


def dequantize(weight: Q4_1, values: torch.Tensor, dtype: torch.dtype, room: Room) -> torch.Tensor:
    groups = room.take(torch.float32, values.numel()).view(weight.outputs, -1, GROUP)
    groups.copy_(values.view_as(groups)).mul_(weight.scale.float().unsqueeze(-1))
    groups.add_(weight.minimum.float().unsqueeze(-1))
    return groups.flatten(1).to(dtype, copy=True)


def can_run(weight: Q4_1, dtype: torch.dtype, device: torch.device) -> bool:
    fits = weight.outputs % OUTPUT_MULTIPLE == 0 and weight.inputs % GROUP == 0
    return fits and device.type == "cpu" and dtype == torch.bfloat16


class Int4Linear(torch.nn.Module):
    def __init__(self, weight: Q4_1, values: torch.Tensor, bias: torch.nn.Parameter | None = None) -> None:
        super().__init__()
        self.in_features, self.out_features = weight.inputs, weight.outputs
        self.bias = bias
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(values, 1)
        scale = weight.scale.float()
        zero = weight.minimum.float() + ZERO_POINT * scale  # the kernel computes (value - 8) * scale + zero
        scales = torch.stack((scale, zero), dim=-1).to(torch.bfloat16).transpose(0, 1).contiguous()
        self.register_buffer("weight", packed, persistent=False)
        self.register_buffer("scales", scales, persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        rows = inputs.reshape(-1, self.in_features)
        out: Any = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.weight, GROUP, self.scales)
        if self.bias is not None:
            out = out + self.bias
        result: torch.Tensor = out.view(*inputs.shape[:-1], self.out_features)
        return result
