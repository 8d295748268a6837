"""The Llama pass of our own gives transformers' numbers, takes only what it knows, and changes no text in company."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from streaming.engines.torch.general import open_model
from streaming.engines.torch.llama import Llama, understood
from streaming.engines.torch.load import open_parts
from streaming.engines.torch.probe import agrees, reference_of
from streaming.engines.torch.runner import PackedRunner
from streaming.engines.torch.settings import MIB, TorchSettings
from streaming.generation import Sampling
from tests.streaming.engines.torch.support import make_generation, opened, run_all, run_alone
from tests.streaming.engines.torch.test_generate import random_prompts
from tests.streaming.engines.torch.tiny import make_model

BFLOAT16 = TorchSettings(dtype="bfloat16", kv_cache_bytes=64 * MIB, max_running=32, max_waiting=64)


def change_config(folder: Path, **changes: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def test_its_logits_are_those_of_transformers(tiny_folder: Path) -> None:
    parts = open_parts(tiny_folder, BFLOAT16)
    assert isinstance(parts.runner, PackedRunner)
    assert isinstance(parts.runner._network, Llama)
    with torch.inference_mode():
        model = open_model(tiny_folder, dtype=torch.bfloat16, device=torch.device("cpu"), quantized=False)
        assert agrees(parts.runner, reference_of(model), model)


def test_a_wrong_rotation_would_be_seen(tiny_folder: Path) -> None:
    parts = open_parts(tiny_folder, BFLOAT16)
    with torch.inference_mode():
        model = open_model(tiny_folder, dtype=torch.bfloat16, device=torch.device("cpu"), quantized=False)
        parts.runner._network._sin.neg_()  # type: ignore[attr-defined]
        assert not agrees(parts.runner, reference_of(model), model)  # type: ignore[arg-type]


def test_texts_are_the_same_alone_and_in_company(tiny_folder: Path) -> None:
    sampling = Sampling(temperature=1.0)
    with opened(tiny_folder, BFLOAT16) as engine:
        generations = [
            make_generation(prompt, sampling=sampling, seed=seed) for seed, prompt in enumerate(random_prompts(5, 24))
        ]
        alone = [run_alone(engine, generation) for generation in generations]
        assert [log.text for log in run_all(engine, generations)] == alone


def test_the_exact_mode_stays_with_transformers(tiny_folder: Path) -> None:
    runner = open_parts(tiny_folder, TorchSettings(dtype="float32", kv_cache_bytes=64 * MIB)).runner
    assert isinstance(runner, PackedRunner)
    assert not isinstance(runner._network, Llama)


@pytest.mark.parametrize(
    "particular",
    [
        {"architectures": ["MistralForCausalLM"]},
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"mlp_bias": True},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 10000.0}},
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
        {"quantization_config": {"quant_method": "awq"}},
    ],
)
def test_particulars_are_left_to_transformers(tiny_folder: Path, particular: dict[str, object]) -> None:
    config = json.loads((tiny_folder / "config.json").read_text())
    assert understood(config) is not None
    assert understood(config | particular) is None


@pytest.mark.parametrize(("renamed", "words"), [("model.norm.weight", "is missing"), (None, "unexpected")])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, renamed: str | None, words: str) -> None:
    folder = make_model(tmp_path)
    path = folder / "model.safetensors"
    weights = load_file(path)
    if renamed:
        del weights[renamed]
    else:
        weights["model.extra.weight"] = torch.zeros(1)
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=words):
        open_parts(folder, BFLOAT16)
