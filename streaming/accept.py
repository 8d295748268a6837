"""Which of the three formats a client wants, from its `Accept` header."""

import re
from typing import Literal, TypeAlias

from streaming.errors import NotAcceptable

Format: TypeAlias = Literal["sse", "ndjson", "text"]

# In the order in which they win when a client likes several equally well.
MEDIA_TYPES: dict[Format, tuple[str, ...]] = {
    "sse": ("text/event-stream",),
    "ndjson": ("application/x-ndjson", "application/ndjson"),
    "text": ("text/plain",),
}
_QUALITY = re.compile(r"\s*q\s*=\s*(1(?:\.0{0,3})?|0(?:\.[0-9]{0,3})?)\s*", re.IGNORECASE)


def choose_format(accept: str) -> Format:
    """Raises `NotAcceptable` when the header allows none of them. No header allows all."""
    ranges = dict(read_range(part) for part in accept.split(",") if part.strip()) or {"*/*": 1.0}
    best = max(MEDIA_TYPES, key=lambda name: quality(name, ranges))
    if quality(best, ranges) <= 0:
        offered = ", ".join(names[0] for names in MEDIA_TYPES.values())
        raise NotAcceptable(f"An answer comes as one of {offered}.")
    return best


def read_range(part: str) -> tuple[str, float]:
    """A quality that cannot be read counts as none given."""
    media_range, *parameters = part.split(";")
    found = [match[1] for one in parameters if (match := _QUALITY.fullmatch(one))]
    return media_range.strip().lower(), float(found[0]) if found else 1.0


def quality(name: Format, ranges: dict[str, float]) -> float:
    """The most exact range decides, as in RFC 9110."""
    for media_type in MEDIA_TYPES[name]:
        for pattern in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
            if pattern in ranges:
                return ranges[pattern]
    return 0.0
