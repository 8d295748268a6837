"""One generation inside the engine: what the owner thread knows of it between two steps."""

from dataclasses import dataclass, field

from streaming.engines.torch.arena import Region
from streaming.events import ChosenLogprob
from streaming.generation import Generation
from streaming.log import Log


@dataclass(slots=True)
class Clock:
    """Moments of one generation in seconds of the monotonic clock; None until they happen."""

    submitted: float
    admitted: float | None = None
    first_token: float | None = None


@dataclass(slots=True, eq=False)
class Sequence:
    generation: Generation
    log: Log
    clock: Clock
    region: Region | None = None
    computed: int = 0
    """How many tokens of prompt and answer have their keys and values in the cache."""
    reused: int = 0
    """How many of them were copied from an earlier generation with the same beginning."""
    tokens: list[int] = field(default_factory=list)
    """Prompt and answer."""
    silent_tokens: int = 0
    """Tokens whose text is still held back: an unfinished character, or the beginning of a stop string."""
    silent_logprobs: list[ChosenLogprob] = field(default_factory=list)
    logprob_sum: float = 0.0
    queue_position: int = 0

    def __post_init__(self) -> None:
        self.tokens = list(self.generation.token_ids)

    @property
    def stream_id(self) -> str:
        return self.generation.stream_id

    @property
    def owner(self) -> str:
        return self.generation.owner

    @property
    def is_background(self) -> bool:
        return self.generation.priority == "background"

    @property
    def prompt_tokens(self) -> int:
        return len(self.generation.token_ids)

    @property
    def completion_tokens(self) -> int:
        return len(self.tokens) - self.prompt_tokens

    @property
    def needed_tokens(self) -> int:
        return self.prompt_tokens + self.generation.max_tokens

    @property
    def is_decoding(self) -> bool:
        return self.completion_tokens > 0
