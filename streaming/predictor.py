"""A model as the routes see it: it turns a request into a `Generation` and names the engine that runs it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from streaming.engine import Engine
from streaming.generation import Generation

DEFAULT_MODEL = "default"


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    content: str


@dataclass(frozen=True, slots=True)
class TextRequest:
    """A validated request. None means: the model's default. `messages` always has at least one entry.

    `is_chat` is False when the client sent one bare prompt: a model without a chat template then completes it.
    """

    messages: Sequence[Message]
    is_chat: bool = True
    model: str = DEFAULT_MODEL
    max_tokens: int | None = None
    min_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logit_bias: dict[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    wants_confidence: bool = False


class Predictor(Protocol):
    """Immutable once made. `prepare` templates and tokenises in a thread, never on the event loop."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def engine(self) -> Engine: ...

    @property
    def context_tokens(self) -> int:
        """The most that prompt and answer may have together, by training, settings and memory."""

    async def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        """How many tokens of a prompt each text would be, about: next to other text it may be one more or less."""

    async def prepare(self, request: TextRequest, owner: str) -> Generation:
        """Raises `InvalidGeneration`. Fixes the seed and the stream id."""
