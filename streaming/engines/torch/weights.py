"""Opens a prepared model folder: transformers' modelling code with the weights as they are stored.

Stored 4-bit weights (`NAME.q4`, `NAME.q4_scale`, `NAME.q4_min`) run as they are where the kernel can, and are spread
out to the wanted number format where it cannot, which is also the exact mode.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.initialization import no_init_weights

from streaming.engines.torch.quantize import Int4Linear, can_run, dequantize

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Q4, Q4_SCALE, Q4_MIN = ".q4", ".q4_scale", ".q4_min"


def open_model(folder: Path, *, dtype: torch.dtype, device: torch.device, quantized: bool) -> Any:
    if not any(name.endswith(Q4) for name in _names(folder)):
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
        return model.to(device).eval()
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    dense: dict[str, torch.Tensor] = {}
    for name, parts in _weights(folder):
        if len(parts) == 1:
            dense[name] = parts[0].to(dtype)
        elif quantized and can_run(parts[0].shape[0], parts[0].shape[1] * 2, dtype, device):
            _replace_linear(model, name.removesuffix(".weight"), *parts)
        else:
            q4, scale, minimum = parts
            dense[name] = dequantize(q4, scale, minimum, dtype)
    _assign(model, dense)
    return model.to(device).eval()


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the processor multiplies it in hardware, else float32."""
    if wanted != "auto":
        return DTYPES[wanted]
    if device.type == "cuda":
        return torch.bfloat16
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_tile") else torch.float32


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _names(folder: Path) -> Iterator[str]:
    for path in _files(folder):
        with safe_open(path, framework="pt") as file:
            yield from file.keys()


def _weights(folder: Path) -> Iterator[tuple[str, list[torch.Tensor]]]:
    """Each parameter's name with one dense tensor, or with the three of a 4-bit weight."""
    for path in _files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  a safetensors file is not iterable
                if name.endswith(Q4):
                    base = name.removesuffix(Q4)
                    yield base, [file.get_tensor(base + suffix) for suffix in (Q4, Q4_SCALE, Q4_MIN)]
                elif not name.endswith((Q4_SCALE, Q4_MIN)):
                    yield name, [file.get_tensor(name)]


def _replace_linear(model: Any, name: str, q4: torch.Tensor, scale: torch.Tensor, minimum: torch.Tensor) -> None:
    linear = model.get_submodule(name)
    model.set_submodule(name, Int4Linear(q4, scale, minimum, linear.bias))


def _assign(model: Any, dense: dict[str, torch.Tensor]) -> None:
    missing, unexpected = model.load_state_dict(dense, strict=False, assign=True)
    model.tie_weights()
    tied = set(model.all_tied_weights_keys)
    absent = [name for name in missing if name not in tied]
    if absent or unexpected:
        raise ValueError(f"The weights do not fit the model: missing {absent[:3]}, unexpected {list(unexpected)[:3]}")
