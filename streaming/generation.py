"""One request for text, as frozen data: tokenised, limited, seeded. An engine needs nothing else."""

import secrets
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

STREAM_ID_BYTES = 16
SEED_BITS = 53  # exact in a JSON number
Priority: TypeAlias = Literal["foreground", "background"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is chosen. `temperature` 0 is greedy; `top_k` 0, `top_p` 1 and `min_p` 0 are off."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    stream_id: str
    owner: str
    model: str
    model_version: str
    token_ids: tuple[int, ...]
    max_tokens: int
    seed: int
    created: int
    sampling: Sampling = field(default_factory=Sampling)
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    """How many alternatives to report beside each chosen token; None reports nothing."""
    wants_confidence: bool = False
    priority: Priority = "foreground"
    """Somebody waits for a foreground generation. A background one gets what those leave, but never nothing."""


def new_stream_id() -> str:
    """128 random bits, hexadecimal: letters and digits only, so it can stand in an SSE id and in a URL."""
    return "s" + secrets.token_hex(STREAM_ID_BYTES)


def new_seed() -> int:
    return secrets.randbits(SEED_BITS)
