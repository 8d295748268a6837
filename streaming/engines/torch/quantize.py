"""Linear layers over 4-bit weights in groups of 32, each group with a scale and a minimum (the GGUF's Q4_1).

The weights stay as the model file has them: nothing is quantised a second time. The product is torch's own CPU
kernel in bfloat16; a row's result does not depend on the other rows.
"""

from typing import Any

import torch

GROUP = 32
ZERO_POINT = 8
OUTPUT_MULTIPLE = 16
"""The kernel works on blocks of this many outputs."""


def unpack(q4: torch.Tensor) -> torch.Tensor:
    """[outputs, inputs / 2] with two weights a byte, low half first -> [outputs, inputs] of 0 to 15."""
    return torch.stack((q4 & 15, q4 >> 4), dim=-1).flatten(1)


def dequantize(q4: torch.Tensor, scale: torch.Tensor, minimum: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    weights = unpack(q4).to(torch.float32).view(q4.shape[0], -1, GROUP)
    weights = torch.addcmul(minimum.float().unsqueeze(-1), weights, scale.float().unsqueeze(-1))
    return weights.flatten(1).to(dtype)


def can_run(outputs: int, inputs: int, dtype: torch.dtype, device: torch.device) -> bool:
    return device.type == "cpu" and dtype == torch.bfloat16 and outputs % OUTPUT_MULTIPLE == 0 and inputs % GROUP == 0


class Int4Linear(torch.nn.Module):
    def __init__(
        self, q4: torch.Tensor, scale: torch.Tensor, minimum: torch.Tensor, bias: torch.nn.Parameter | None
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = scale.shape[1] * GROUP, q4.shape[0]
        self.bias = bias
        weight = torch.ops.aten._convert_weight_to_int4pack_for_cpu(unpack(q4).to(torch.int32), 1)
        zero = minimum.float() + ZERO_POINT * scale.float()  # the kernel computes (q - 8) * scale + zero
        scales = torch.stack((scale.float(), zero), dim=-1).to(torch.bfloat16).transpose(0, 1).contiguous()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("scales", scales, persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        rows = inputs.reshape(-1, self.in_features)
        out: Any = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.weight, GROUP, self.scales)
        if self.bias is not None:
            out = out + self.bias
        result: torch.Tensor = out.view(*inputs.shape[:-1], self.out_features)
        return result
