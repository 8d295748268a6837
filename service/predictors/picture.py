"""What a model of pictures answers, whichever it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of text that was read, or a label; `confidence` is the model's own, from 0 to 1."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Seen:
    """`prediction` in one string; the findings it is made of, the first or the likeliest first."""

    prediction: str
    findings: Sequence[Finding]


class PictureModel(Protocol):
    """Raises `DocumentError` for a file that is no picture, or too large a one; `ModelUnavailable`. Never blocks."""

    async def look_at(self, path: Path) -> Seen: ...
