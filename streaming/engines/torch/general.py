"""Any decoder-only causal LM, through transformers' own modelling code. Takes the imports of transformers with it."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.initialization import no_init_weights
from transformers.utils import logging as transformers_logging

from streaming.engines.torch.quantize import Q4_1, Int4Linear, Room, can_run
from streaming.engines.torch.weights import has_quantized, read_weights, spread


def open_model(folder: Path, *, dtype: torch.dtype, device: torch.device, quantized: bool) -> Any:
    transformers_logging.disable_progress_bar()
    if not has_quantized(folder):
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
        return model.to(device).eval()
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    dense: dict[str, torch.Tensor] = {}
    room = Room()
    for name, weight in read_weights(folder):
        if quantized and isinstance(weight, Q4_1) and can_run(weight, dtype, device):
            layer = name.removesuffix(".weight")
            model.set_submodule(layer, Int4Linear(weight, weight.values(room), model.get_submodule(layer).bias))
        else:
            dense[name] = spread(weight, dtype, room)
    _assign(model, dense)
    return model.to(device).eval()


def _assign(model: Any, dense: dict[str, torch.Tensor]) -> None:
    missing, unexpected = model.load_state_dict(dense, strict=False, assign=True)
    model.tie_weights()
    tied = set(model.all_tied_weights_keys)
    absent = [name for name in missing if name not in tied]
    if absent or unexpected:
        raise ValueError(f"The weights do not fit the model: missing {absent[:3]}, unexpected {list(unexpected)[:3]}")
