"""What one echoed generation does: its words, its speed and its faults, all read from the prompt.

A prompt may hold one directive, which is not echoed: `[[echo repeat=100 tps=50 prefill_ms=200]]`. Its words are
`repeat` (times the text), `tps` (tokens per second, 0 being as fast as it goes), `prefill_ms`, and the faults
`fail_at`, `nonfinite_at` and `hang_at` (at this token, counted from 0), and, where the engine may break, `crash_at` and
`freeze_at`, which take its whole thread along. Anything else in brackets is plain text.
"""

import re
from dataclasses import dataclass

TOKEN_BYTES = 15  # long words are cut between bytes, so a character may be split over two tokens as in a real model
SILENCE = (b"echo",)  # what is said when the prompt holds nothing but a directive
MAX_REPEAT = 100_000
MAX_PREFILL_MS = 600_000

_FAULTS = ("fail_at", "nonfinite_at", "hang_at", "crash_at", "freeze_at")
_WORDS = "|".join(("repeat", "tps", "prefill_ms", *_FAULTS))
_DIRECTIVE = re.compile(rf"\[\[echo((?: (?:{_WORDS})=[0-9]{{1,9}})*)\]\]")
_WORD = re.compile(r"\s*\S+|\s+")


@dataclass(frozen=True, slots=True)
class Script:
    tokens: tuple[bytes, ...]
    repeat: int = 1
    tps: int | None = None
    prefill_ms: int = 0
    fail_at: int | None = None
    nonfinite_at: int | None = None
    hang_at: int | None = None
    crash_at: int | None = None
    freeze_at: int | None = None

    @property
    def length(self) -> int:
        return len(self.tokens) * self.repeat

    def token(self, index: int) -> bytes:
        """Past its end the text starts again: `min_tokens` may ask for more than there is."""
        return self.tokens[index % len(self.tokens)]


def read_script(text: str) -> Script:
    directive = _DIRECTIVE.search(text)
    if directive is None:
        return Script(split(text) or SILENCE)
    asked = {key: int(value) for key, value in (word.split("=") for word in directive[1].split())}
    return Script(
        tokens=split(text[: directive.start()] + text[directive.end() :]) or SILENCE,
        repeat=min(max(asked.get("repeat", 1), 1), MAX_REPEAT),
        tps=asked.get("tps"),
        prefill_ms=min(asked.get("prefill_ms", 0), MAX_PREFILL_MS),
        **{fault: asked.get(fault) for fault in _FAULTS},
    )


def split(text: str) -> tuple[bytes, ...]:
    """Words with the white space before them, long ones in pieces; joined they are the text again."""
    words = (word.encode() for word in _WORD.findall(text))
    return tuple(word[start : start + TOKEN_BYTES] for word in words for start in range(0, len(word), TOKEN_BYTES))


def to_ids(text: str) -> tuple[int, ...]:
    """A token's id is its bytes as a number, after a leading 1 that keeps zeros in front."""
    return tuple(int.from_bytes(b"\x01" + token, "big") for token in split(text))


def to_text(token_ids: tuple[int, ...]) -> str:
    pieces = (token.to_bytes((token.bit_length() + 7) // 8, "big")[1:] for token in token_ids)
    return b"".join(pieces).decode()
