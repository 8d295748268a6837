"""What an answer from files needs of whoever can read them. Files have ids here and are nothing else."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from streaming.events import Citation, GivenDocument, Progress
from streaming.predictor import TextRequest

Cite: TypeAlias = Callable[[str], Awaitable[Sequence[Citation]]]
"""From the answer's text to what supports it, best first."""


@dataclass(frozen=True, slots=True)
class Ask:
    """`room_tokens` is what the files' text may take of the prompt; `count_tokens` counts as the model does."""

    request: TextRequest
    owner: str
    upload_ids: Sequence[str]
    room_tokens: int
    count_tokens: Callable[[Sequence[str]], Awaitable[Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Grounded:
    """The request with the files' text in it, which is at most the room."""

    request: TextRequest
    documents: tuple[GivenDocument, ...]
    cite: Cite


class Grounding(Protocol):
    """Used on one event loop, which it does not block. Both calls may be cancelled at any time."""

    async def check(self, owner: str, upload_ids: Sequence[str]) -> None:
        """Raises, in its own words, when one of them is not this owner's. Nothing has been spent then."""

    async def prepare(self, ask: Ask, on_progress: Callable[[Progress], None]) -> Grounded:
        """Reads the files and makes them searchable. Raises `StreamingError`: `GroundingFailed` for the files."""
