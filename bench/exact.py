"""Exact mode against `model.generate`, at full length: `python -m bench.exact`.

For the default model and for one tiny random model of each family: 50 prompts of 1 to 1,500 tokens, greedy, alone and
in a changing company of up to 32 with cancels; then 50 seeds, alone against in company. Every text must be the same.
For the default model the share of equal texts is also reported in its own number format.
"""

import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from service.models.config import load_catalog
from service.models.store import ModelStore
from service.settings import default_models_dir
from streaming.engines.torch.engine import TorchEngine
from streaming.engines.torch.general import open_model
from streaming.engines.torch.load import open_parts, start_engine
from streaming.engines.torch.settings import MIB, TorchSettings
from streaming.events import Delta
from streaming.generation import Generation, Sampling
from tests.streaming.engines.torch.support import WaitableLog, make_generation, run_alone, shown_text
from tests.streaming.engines.torch.tiny import FAMILIES, make_model

PROMPTS = 50
LONGEST_PROMPT = 1_500
NEW_TOKENS = 64
CANCELLED_SHARE = 0.2
SEEDED = Sampling(temperature=0.8, top_p=0.95)
DEADLINE_S = 600


def main(names: Sequence[str]) -> int:
    """All models, or those that are named; `default` is one."""
    wrong = 0
    print(f"{'model':<22}{'format':<10}{'alone':>8}{'company':>9}{'seeds':>8}{'seconds':>9}")
    for name in names or ("default", *FAMILIES):
        if name == "default":
            wrong += check(name, default_folder(), "float32")
            report_share(name, default_folder())
            continue
        with tempfile.TemporaryDirectory() as folder:
            wrong += check(name, make_model(Path(folder), name), "float32")
    return min(wrong, 1)


def check(name: str, folder: Path, dtype: str) -> int:
    """Print one row; return how many texts differ from what they must be."""
    started = time.monotonic()
    settings = TorchSettings(dtype=dtype, kv_cache_bytes=2048 * MIB)
    parts = open_parts(folder, settings)
    prompts = make_prompts(parts.vocabulary)
    expected = reference_texts(folder, prompts, parts)
    engine = start_engine(parts, settings, name)
    generations = [make_generation(prompt, max_tokens=NEW_TOKENS) for prompt in prompts]
    alone = [run_alone(engine, generation) for generation in generations]
    together = in_company(engine, generations)
    seeded = [replace(g, sampling=SEEDED, seed=seed) for seed, g in enumerate(generations)]
    seeds = same_alone_and_in_company(engine, seeded)
    engine.close(0)
    right = [
        sum(a == b for a, b in zip(alone, expected, strict=True)),
        sum(text is None or text == b for text, b in zip(together, expected, strict=True)),
        seeds,
    ]
    row(name, dtype, right, time.monotonic() - started)
    return 3 * PROMPTS - sum(right)


def report_share(name: str, folder: Path) -> None:
    """The default format: no reference but itself; alone against in company."""
    started = time.monotonic()
    settings = TorchSettings(kv_cache_bytes=2048 * MIB)
    parts = open_parts(folder, settings)
    engine = start_engine(parts, settings, name)
    generations = [make_generation(prompt, max_tokens=NEW_TOKENS) for prompt in make_prompts(parts.vocabulary)]
    seeded = [replace(g, sampling=SEEDED, seed=seed) for seed, g in enumerate(generations)]
    greedy, seeds = (same_alone_and_in_company(engine, some) for some in (generations, seeded))
    engine.close(0)
    row(name, "auto", [None, greedy, seeds], time.monotonic() - started)


def same_alone_and_in_company(engine: TorchEngine, generations: list[Generation]) -> int:
    alone = [run_alone(engine, generation) for generation in generations]
    together = in_company(engine, generations)
    return sum(text is None or text == a for text, a in zip(together, alone, strict=True))


def in_company(engine: TorchEngine, generations: list[Generation]) -> list[str | None]:
    """Join at random moments, leave by themselves or by a cancel. A cancelled one gives None, if what it said fits."""
    choose = random.Random(5)
    renamed = [replace(g, stream_id=f"{g.stream_id}{choose.random()}", owner="company") for g in generations]
    logs = [WaitableLog(DEADLINE_S) for _ in renamed]
    cancelled = set()
    for number, (generation, log) in enumerate(zip(renamed, logs, strict=True)):
        engine.submit(generation, log)
        if choose.random() < CANCELLED_SHARE:
            cancelled.add(number)
            log.wait_for(Delta, choose.randrange(1, NEW_TOKENS // 2))
            engine.cancel(generation.stream_id)
    for log in logs:
        log.end()
    return [None if number in cancelled else log.text for number, log in enumerate(logs)]


def make_prompts(vocabulary: int) -> list[list[int]]:
    """Lengths from 1 to the longest, more short ones than long ones."""
    choose = random.Random(3)
    lengths = [1, 2, LONGEST_PROMPT, *(round(LONGEST_PROMPT ** choose.random()) for _ in range(PROMPTS - 3))]
    return [[choose.randrange(4, vocabulary) for _ in range(length)] for length in lengths]


def reference_texts(folder: Path, prompts: list[list[int]], parts: Any) -> list[str]:
    """transformers' own modelling code, cache and `generate`, on the same weights spread out to float32."""
    model = open_model(folder, dtype=torch.float32, device=torch.device("cpu"), quantized=False)
    texts = []
    for prompt in prompts:
        with torch.inference_mode():
            ids = torch.tensor([prompt])
            output = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, do_sample=False
            )
        texts.append(shown_text(parts.decoder.text, output[0, len(prompt) :].tolist(), parts.sampler.end_tokens))
    return texts


def default_folder() -> Path:
    prepared = ModelStore(default_models_dir()).prepared(load_catalog()["default"])
    if prepared is None:
        sys.exit("The default model is not here yet: run `headwater models pull`.")
    return prepared.path


def row(name: str, dtype: str, right: Sequence[int | None], seconds: float) -> None:
    cells = "".join(f"{'-' if n is None else f'{n}/{PROMPTS}':>{w}}" for n, w in zip(right, (8, 9, 8), strict=True))
    print(f"{name:<22}{dtype:<10}{cells}{seconds:>9.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
