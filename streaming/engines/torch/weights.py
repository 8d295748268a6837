"""Reads a prepared model folder's weights.

4-bit ones are stored in three parts, `NAME.q4`, `NAME.q4_scale` and `NAME.q4_min`. They run as they are where the
kernel can, and are spread out to the wanted number format where it cannot, which is also the exact mode.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import safe_open

from streaming.engines.torch.quantize import Q4_1, Room, dequantize

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Q4, Q4_SCALE, Q4_MIN = ".q4", ".q4_scale", ".q4_min"
Weight: TypeAlias = torch.Tensor | Q4_1


def read_weights(folder: Path) -> Iterator[tuple[str, Weight]]:
    """Each parameter's name and its weight, as it is stored."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  a safetensors file is not iterable
                if name.endswith(Q4):
                    base = name.removesuffix(Q4)
                    yield base, Q4_1(*(file.get_tensor(base + suffix) for suffix in (Q4, Q4_SCALE, Q4_MIN)))
                elif not name.endswith((Q4_SCALE, Q4_MIN)):
                    yield name, file.get_tensor(name)


def spread(weight: Weight, dtype: torch.dtype, room: Room) -> torch.Tensor:
    if isinstance(weight, Q4_1):
        return dequantize(weight, weight.values(room), dtype, room)
    return weight.to(dtype)


def has_quantized(folder: Path) -> bool:
    with ExitStack() as files:
        opened = [files.enter_context(safe_open(path, framework="pt")) for path in folder.glob("*.safetensors")]
        return any(name.endswith(Q4) for file in opened for name in file.keys())  # noqa: SIM118  as below


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the processor multiplies it in hardware, else float32."""
    if wanted != "auto":
        return DTYPES[wanted]
    if device.type == "cuda":
        return torch.bfloat16
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_tile") else torch.float32
