"""Chooses one token for each row of logits.

A random choice takes one number made from the generation's seed and the token's place in the answer, so a seed gives
the same text whatever else runs. The order of the filters is that of `model.generate`: repetition penalty, presence
and frequency, bias, temperature, top-k, top-p, min-p.
"""

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from streaming.engines.torch.sequence import Sequence
from streaming.errors import NonFiniteLogits
from streaming.generation import Sampling

FIRST_CANDIDATES = 64
"""How many of the best tokens are looked at first; more only when top-p needs them."""
CANDIDATE_GROWTH = 16
SMALLEST_TEMPERATURE = 1e-30
"""Float32 divides by it; any smaller one chooses alike."""
LOWEST_LOGPROB = -9999.0
"""Stands for minus infinity, which JSON cannot carry."""


class Choice(NamedTuple):
    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Sampler:
    """`end_tokens` end a text; they are out of reach until a generation has its `min_tokens`."""

    end_tokens: tuple[int, ...]

    def choose(self, logits: torch.Tensor, sequences: list[Sequence]) -> list[Choice | Exception]:
        """A row that cannot be sampled gives its exception and leaves the others alone."""
        best_values, best = logits.max(dim=-1)
        finite, greedy = torch.isfinite(best_values).tolist(), best.tolist()
        choices: list[Choice | Exception] = []
        for row, sequence in enumerate(sequences):
            if not finite[row]:
                choices.append(NonFiniteLogits("The model computed numbers that are not finite."))
                continue
            try:
                is_plain = self._is_plain(sequence, greedy[row])
                token = greedy[row] if is_plain else self._choose_row(logits[row], sequence)
                choices.append(_with_logprobs(token, logits[row], sequence))
            except Exception as error:  # noqa: BLE001  one row must not end the others
                choices.append(error)
        return choices

    def _is_plain(self, sequence: Sequence, best: int) -> bool:
        """Whether the best token is the choice as it stands."""
        is_allowed = best not in self.end_tokens or not self._must_go_on(sequence)
        return sequence.generation.sampling.temperature == 0 and not self._is_weighed(sequence) and is_allowed

    def _is_edited(self, sequence: Sequence) -> bool:
        return self._is_weighed(sequence) or self._must_go_on(sequence)

    def _is_weighed(self, sequence: Sequence) -> bool:
        sampling = sequence.generation.sampling
        return (
            sampling.repetition_penalty != 1
            or sampling.presence_penalty != 0
            or sampling.frequency_penalty != 0
            or bool(sampling.logit_bias)
        )

    def _must_go_on(self, sequence: Sequence) -> bool:
        return sequence.completion_tokens < sequence.generation.min_tokens

    def _choose_row(self, row: torch.Tensor, sequence: Sequence) -> int:
        sampling = sequence.generation.sampling
        if self._is_edited(sequence):
            row = self._edit(row.float().clone(), sequence)
        if sampling.temperature == 0:
            return int(row.argmax())
        return draw(row, sampling, uniform(sequence.generation.seed, sequence.completion_tokens))

    def _edit(self, row: torch.Tensor, sequence: Sequence) -> torch.Tensor:
        sampling = sequence.generation.sampling
        if sampling.repetition_penalty != 1:
            seen = torch.tensor(sorted(set(sequence.tokens)), device=row.device)
            values = row[seen]
            row[seen] = torch.where(
                values < 0, values * sampling.repetition_penalty, values / sampling.repetition_penalty
            )
        if sampling.presence_penalty or sampling.frequency_penalty:
            for token, count in Counter(sequence.tokens[sequence.prompt_tokens :]).items():
                row[token] -= sampling.presence_penalty + count * sampling.frequency_penalty
        for token, bias in sampling.logit_bias:
            row[token] += bias
        if self._must_go_on(sequence) and self.end_tokens:
            row[list(self.end_tokens)] = -math.inf
        return row


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) that depends on nothing but the seed and the place."""
    digest = hashlib.blake2b(f"{seed}:{position}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def draw(row: torch.Tensor, sampling: Sampling, random: float) -> int:
    """Inverse of the cumulative distribution over the candidates that the filters leave."""
    if not sampling.top_k and sampling.top_p == 1 and sampling.min_p == 0:
        weights = torch.exp((row.double() - row.max()) / sampling.temperature).cpu().numpy()
        return _pick(weights, random)
    tokens, weights = _candidates(row, sampling)
    return int(tokens[_pick(weights, random)])


def _pick(weights: NDArray[np.float64], random: float) -> int:
    cumulative = np.cumsum(weights)
    at = int(np.searchsorted(cumulative, random * cumulative[-1], side="right"))
    return min(at, len(weights) - 1)


def _candidates(row: torch.Tensor, sampling: Sampling) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The tokens that the filters leave, best first, with weights that need not add up to one."""
    vocabulary = len(row)
    if sampling.top_k:
        tokens, weights = _best(row, min(sampling.top_k, vocabulary), sampling.temperature)
        kept = _kept(weights, float(weights.sum()), sampling)
        return tokens[:kept], weights[:kept]
    total = _total(row, sampling.temperature) if sampling.top_p < 1 else 1.0
    count = min(FIRST_CANDIDATES, vocabulary)
    while True:
        tokens, weights = _best(row, count, sampling.temperature)
        kept = _kept(weights, total, sampling)
        if kept < count or count == vocabulary:
            return tokens[:kept], weights[:kept]
        count = min(count * CANDIDATE_GROWTH, vocabulary)


def _total(row: torch.Tensor, temperature: float) -> float:
    """The weight of all tokens together, that of the best being one."""
    return float(torch.exp((row.float() - row.max()) / max(temperature, SMALLEST_TEMPERATURE)).sum(dtype=torch.double))


def _best(row: torch.Tensor, count: int, temperature: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    values, tokens = torch.topk(row, count)
    token_array, value_array = tokens.cpu().numpy(), values.double().cpu().numpy()
    order = np.lexsort((token_array, -value_array))
    behind = value_array[order] - value_array[order[0]]
    return token_array[order], np.exp(behind / max(temperature, SMALLEST_TEMPERATURE))


def _kept(weights: NDArray[np.float64], total: float, sampling: Sampling) -> int:
    """How many of the best candidates stay: top-p takes them until its share is reached, min-p by their weight."""
    kept = len(weights)
    if sampling.top_p < 1:
        kept = int(np.searchsorted(np.cumsum(weights) / total, sampling.top_p, side="left")) + 1
    if sampling.min_p > 0:
        kept = min(kept, int(np.count_nonzero(weights >= sampling.min_p)))
    return max(1, min(kept, len(weights)))


def _with_logprobs(token: int, row: torch.Tensor, sequence: Sequence) -> Choice:
    generation = sequence.generation
    if generation.logprobs is None and not generation.wants_confidence:
        return Choice(token)
    logprobs = torch.log_softmax(row.float(), dim=-1)
    top: tuple[tuple[int, float], ...] = ()
    if generation.logprobs:
        values, tokens = torch.topk(logprobs, min(generation.logprobs, len(logprobs)))
        top = tuple(zip(tokens.tolist(), values.clamp_min(LOWEST_LOGPROB).tolist(), strict=True))
    return Choice(token, max(float(logprobs[token]), LOWEST_LOGPROB), top)
