"""Exact mode: the same text as `model.generate`, for every family, alone and in a changing company."""

import random
from pathlib import Path

import pytest

from streaming.engines.torch.load import open_parts
from streaming.engines.torch.runner import PackedRunner
from streaming.engines.torch.sequential import SequentialRunner
from streaming.events import Delta
from streaming.generation import Sampling
from tests.streaming.engines.torch.support import (
    EXACT,
    WaitableLog,
    generated_texts,
    make_generation,
    opened,
    run_all,
    run_alone,
)
from tests.streaming.engines.torch.tiny import FAMILIES, PROMPT_LENGTHS, VOCABULARY, make_model

SEQUENTIAL = {"bloom"}
MAX_TOKENS = 40


def random_prompts(seed: int, count: int) -> list[list[int]]:
    choose = random.Random(seed)
    return [[choose.randrange(4, VOCABULARY) for _ in range(choose.choice(PROMPT_LENGTHS))] for _ in range(count)]


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_text_equals_generate(family: str, tmp_path: Path) -> None:
    folder = make_model(tmp_path, family)
    prompts = random_prompts(1, 16)
    expected = generated_texts(folder, prompts, MAX_TOKENS)
    with opened(folder) as engine:
        logs = run_all(engine, [make_generation(p, max_tokens=MAX_TOKENS) for p in prompts])
    assert [log.text for log in logs] == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_gets_the_runner_it_can_have(family: str, tmp_path: Path) -> None:
    parts = open_parts(make_model(tmp_path, family), EXACT)
    assert isinstance(parts.runner, SequentialRunner if family in SEQUENTIAL else PackedRunner)


def test_joins_leaves_and_cancels_change_no_text(tiny_folder: Path) -> None:
    prompts = random_prompts(2, 64)
    expected = generated_texts(tiny_folder, prompts, MAX_TOKENS)
    choose = random.Random(3)
    with opened(tiny_folder) as engine:
        logs, cancelled = [], set()
        for number, prompt in enumerate(prompts):
            generation, log = make_generation(prompt, max_tokens=MAX_TOKENS), WaitableLog()
            engine.submit(generation, log)
            logs.append(log)
            if choose.random() < 0.25:
                cancelled.add(number)
                log.wait_for(Delta, choose.randrange(1, 9))
                engine.cancel(generation.stream_id)
        for log in logs:
            log.end()
    for number, (log, text) in enumerate(zip(logs, expected, strict=True)):
        if number in cancelled:
            assert text.startswith(log.text)
        else:
            assert log.text == text


def test_a_seed_gives_the_same_text_alone_and_in_company(tiny_folder: Path) -> None:
    sampling = Sampling(temperature=1.1, top_p=0.95, repetition_penalty=1.1)
    generations = [
        make_generation(prompt, sampling=sampling, seed=seed, max_tokens=MAX_TOKENS)
        for seed, prompt in enumerate(random_prompts(4, 32))
    ]
    with opened(tiny_folder) as engine:
        together = [log.text for log in run_all(engine, generations)]
        alone = [run_alone(engine, generation) for generation in generations]
    assert together == alone
    assert len(set(together)) > 24
