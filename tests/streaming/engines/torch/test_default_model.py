"""The default model itself: exact mode against `generate`, and its own format in company. Long forms: `bench.exact`."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from service.models.config import load_catalog
from service.models.store import ModelStore
from service.settings import default_models_dir
from streaming.engines.torch.general import open_model
from streaming.engines.torch.llama import Llama
from streaming.engines.torch.load import Parts, open_parts
from streaming.engines.torch.quantize import Int4Linear
from streaming.engines.torch.runner import PackedRunner
from streaming.engines.torch.settings import MIB, TorchSettings
from streaming.engines.torch.weights import choose_dtype
from streaming.generation import Sampling
from tests.streaming.engines.torch.support import EXACT, make_generation, run_all, run_alone, running, shown_text

pytestmark = pytest.mark.model

TEXTS = (
    "The sea was calm. ",
    "Why do rivers bend? ",
    "def fibonacci(n):\n    ",
    "Räksmörgås, 東京 and 🧑‍🚀: ",
    "Once upon a time there was a king who had three daughters, and the youngest of them ",
)
NEW_TOKENS = 32
NEAR_BEST = 0.5
"""Logits of bfloat16 lie up to 0.25 apart; a wrong weight changes them by many (their standard deviation is 6.7)."""


@pytest.fixture(scope="module")
def folder() -> Path:
    prepared = ModelStore(default_models_dir()).prepared(load_catalog()["default"])
    assert prepared, "run `headwater models pull` first; `make test` does"
    return prepared.path


@pytest.fixture(scope="module")
def exact_parts(folder: Path) -> Parts:
    return open_parts(folder, replace(EXACT, kv_cache_bytes=512 * MIB))


def prompts_of(parts: Parts) -> list[list[int]]:
    choose = random.Random(1)
    encode = parts.tokenizer.backend_tokenizer.encode
    return [encode(text * choose.choice((1, 2, 9))).ids for text in TEXTS] + [[100]]


def test_exact_mode_gives_the_text_of_generate(folder: Path, exact_parts: Parts) -> None:
    prompts = prompts_of(exact_parts)
    model = open_model(folder, dtype=torch.float32, device=torch.device("cpu"), quantized=False)
    expected = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS)
        new, end_tokens = output[0, len(prompt) :].tolist(), exact_parts.sampler.end_tokens
        expected.append(shown_text(exact_parts.decoder.text, new, end_tokens))
    with running(exact_parts) as engine:
        logs = run_all(engine, [make_generation(prompt, max_tokens=NEW_TOKENS) for prompt in prompts])
    assert [log.text for log in logs] == expected


def test_company_changes_nothing_in_exact_mode(exact_parts: Parts) -> None:
    sampling = Sampling(temperature=0.8, top_p=0.95)
    generations = [
        make_generation(prompt, sampling=sampling, seed=seed, max_tokens=NEW_TOKENS)
        for seed, prompt in enumerate(prompts_of(exact_parts))
    ]
    with running(exact_parts) as engine:
        alone = [run_alone(engine, generation) for generation in generations]
        assert [log.text for log in run_all(engine, generations)] == alone


def test_the_default_format_keeps_the_files_own_4_bit_weights(folder: Path) -> None:
    if choose_dtype("auto", torch.device("cpu")) != torch.bfloat16:
        pytest.skip("this processor has no bfloat16 product: auto is float32 here")
    parts = open_parts(folder, TorchSettings(kv_cache_bytes=256 * MIB))
    assert isinstance(parts.runner, PackedRunner)
    network = parts.runner._network
    assert isinstance(network, Llama)
    products = [(layer.query_key_value, layer.out, layer.gate_up, layer.down) for layer in network._layers]
    assert all(isinstance(getattr(one.few, "__self__", None), Int4Linear) for layer in products for one in layer)
    tokenizer = parts.tokenizer
    question = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}], tokenize=False, add_generation_prompt=True
    )
    tokens = tokenizer.backend_tokenizer.encode(question).ids
    with running(parts, TorchSettings()) as engine:
        log = run_all(engine, [make_generation(tokens, max_tokens=NEW_TOKENS)])[0]
    answer = tokenizer.backend_tokenizer.encode(log.text, add_special_tokens=False).ids
    assert missed_by(folder, tokens, answer) < NEAR_BEST


def missed_by(folder: Path, prompt: list[int], answer: list[int]) -> float:
    """How far the worst token of the answer is, in logits, from the one that float32 would have taken in its place."""
    model = open_model(folder, dtype=torch.float32, device=torch.device("cpu"), quantized=False)
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
    chosen = logits.gather(1, torch.tensor([answer]).T)
    return float((logits.max(-1, keepdim=True).values - chosen).max())
