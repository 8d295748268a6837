"""Each filter against its definition, and the random numbers."""

import math
from collections import Counter

import pytest
import torch

from streaming.engines.torch.sampler import Choice, Sampler, draw, uniform
from streaming.engines.torch.sequence import Clock, Sequence
from streaming.errors import NonFiniteLogits
from streaming.generation import Sampling
from streaming.logs.discard import DiscardLog
from tests.streaming.engines.torch.support import make_generation

LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -3.0])


def make_sequence(sampling: Sampling | None = None, answer: tuple[int, ...] = (), **changes: object) -> Sequence:
    sequence = Sequence(make_generation([1, 2], sampling=sampling, **changes), DiscardLog(), Clock(0.0))
    sequence.tokens.extend(answer)
    return sequence


def choose(sequence: Sequence, logits: torch.Tensor = LOGITS) -> Choice:
    choice = Sampler(end_tokens=(0,)).choose(logits.unsqueeze(0), [sequence])[0]
    assert isinstance(choice, Choice)
    return choice


def drawn(sampling: Sampling, count: int = 4000) -> dict[int, float]:
    found = Counter(draw(LOGITS, sampling, uniform(1, position)) for position in range(count))
    return {token: times / count for token, times in found.items()}


def test_greedy_takes_the_best() -> None:
    assert choose(make_sequence()).token == 0


@pytest.mark.parametrize(
    ("sampling", "allowed"),
    [
        (Sampling(temperature=1.0), {0, 1, 2, 3, 4, 5}),
        (Sampling(temperature=1.0, top_k=3), {0, 1, 2}),
        (Sampling(temperature=1.0, top_p=0.7), {0, 1}),
        (Sampling(temperature=1.0, min_p=0.2), {0, 1, 2}),
        (Sampling(temperature=1.0, top_k=2, top_p=0.5), {0}),
        (Sampling(temperature=0.01), {0}),
    ],
)
def test_filters_leave_what_they_should_in_the_right_proportions(sampling: Sampling, allowed: set[int]) -> None:
    shares = drawn(sampling)
    weights = {token: math.exp(float(LOGITS[token]) / sampling.temperature) for token in allowed}
    total = sum(weights.values())
    assert set(shares) <= allowed
    for token, weight in weights.items():
        assert shares.get(token, 0.0) == pytest.approx(weight / total, abs=0.03)


@pytest.mark.parametrize("temperature", [1e-5, 1e-307, 5e-324])
@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_tiny_temperature_is_greedy(temperature: float, top_p: float) -> None:
    assert draw(LOGITS, Sampling(temperature=temperature, top_p=top_p), 0.999) == 0


def test_top_p_looks_further_than_the_first_candidates() -> None:
    flat = torch.zeros(5000)
    tokens = {draw(flat, Sampling(temperature=1.0, top_p=0.9), uniform(3, n)) for n in range(2000)}
    assert max(tokens) < 4500
    assert len(tokens) > 1200


def test_repetition_penalty_counts_prompt_and_answer() -> None:
    logits = torch.tensor([2.0, 1.0, 0.5, 0.45])
    assert choose(make_sequence(Sampling(repetition_penalty=5.0), answer=(0,)), logits).token == 3
    assert choose(make_sequence(Sampling(repetition_penalty=5.0)), logits).token == 0


def test_presence_and_frequency_count_the_answer_only() -> None:
    assert choose(make_sequence(Sampling(presence_penalty=1.1), answer=(0,))).token == 1
    assert choose(make_sequence(Sampling(frequency_penalty=0.4), answer=(0, 0, 0))).token == 1
    assert choose(make_sequence(Sampling(frequency_penalty=0.2), answer=(0, 0, 0))).token == 0
    assert choose(make_sequence(Sampling(presence_penalty=2.0)), torch.tensor([0.0, 1.0, 0.9])).token == 1


def test_bias_and_min_tokens() -> None:
    assert choose(make_sequence(Sampling(logit_bias=((5, 10.0),)))).token == 5
    assert choose(make_sequence(min_tokens=1)).token == 1
    assert choose(make_sequence(min_tokens=1, answer=(4,))).token == 0


def test_logprobs_are_those_of_the_model_itself() -> None:
    sequence = make_sequence(Sampling(temperature=0.5, logit_bias=((3, 50.0),)), logprobs=2)
    choice = choose(sequence)
    own = torch.log_softmax(LOGITS, -1)
    assert choice.token == 3
    assert choice.logprob == pytest.approx(float(own[3]))
    assert [token for token, _ in choice.top] == [0, 1]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_row_that_is_not_finite_fails_alone(bad: float) -> None:
    logits = LOGITS.repeat(3, 1)
    logits[1, 2] = bad
    choices = Sampler(end_tokens=()).choose(logits, [make_sequence() for _ in range(3)])
    assert choices[0] == choices[2] == Choice(0)
    assert isinstance(choices[1], NonFiniteLogits)


def test_random_numbers_depend_on_seed_and_position_only() -> None:
    assert uniform(5, 9) == uniform(5, 9)
    assert len({uniform(seed, position) for seed in range(30) for position in range(30)}) == 900
    assert 0.45 < sum(uniform(1, n) for n in range(1000)) / 1000 < 0.55
