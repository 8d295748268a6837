"""What a generation tells its readers: plain frozen data, the same for every engine, log and wire dialect.

A log holds one `Started`, then any number of `Queued`, `Progress` and `Delta`, then exactly one `Finished`
or `Failed`. Of an answer from files it holds more: `Progress("ingest", …)` stand before `Started`, which is missing
when the reading failed or was cancelled, and any number of `Citation` stand right before `Finished`.
Nothing here is a tensor, a callback or an exception, so every event can be pickled.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

FinishReason: TypeAlias = Literal["stop", "length", "cancelled"]
IngestStep: TypeAlias = Literal["wait", "read", "embed", "index"]


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token as text with the natural logarithm of its probability, before temperature and penalties."""

    token: str
    logprob: float


@dataclass(frozen=True, slots=True)
class ChosenLogprob:
    """The token that was chosen and the most probable alternatives at its place, best first."""

    token: str
    logprob: float
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Timings:
    queue_ms: float
    prefill_ms: float
    decode_ms: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class GivenDocument:
    """What of a file the model was given: the whole text, or the best pieces of it."""

    upload_id: str
    filename: str
    given: Literal["whole", "pieces"]
    given_characters: int
    characters: int


@dataclass(frozen=True, slots=True)
class Started:
    stream_id: str
    model: str
    model_version: str
    prompt_tokens: int
    seed: int
    created: int
    documents: tuple[GivenDocument, ...] = ()


@dataclass(frozen=True, slots=True)
class Queued:
    """The place in the waiting queue, 1 being next. `eta_ms` is None while the engine cannot estimate it."""

    position: int
    eta_ms: int | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a phase before the first token has come: `prefill` in tokens, `ingest` in what its `step` counts."""

    phase: Literal["prefill", "ingest"]
    done: int
    total: int
    step: IngestStep | None = None
    upload_id: str | None = None
    filename: str | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """Text to append. `tokens` is how many tokens were generated since the previous delta."""

    text: str
    tokens: int = 1
    logprobs: tuple[ChosenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Citation:
    """A piece that supports the answer: `text` is the file's text from `start` to `end`, in characters."""

    upload_id: str
    filename: str
    page: int | None
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """`confidence` is the geometric mean of the chosen tokens' probabilities; None unless it was asked for."""

    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """`code` is one of `streaming.errors`; `message` is ours, never a library's."""

    code: str
    message: str
    retryable: bool


Event: TypeAlias = Started | Queued | Progress | Delta | Citation | Finished | Failed


def is_last(event: Event) -> bool:
    return isinstance(event, Finished | Failed)
