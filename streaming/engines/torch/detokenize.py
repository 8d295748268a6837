"""Turns a growing list of tokens into text deltas: whole characters only, and nothing from a stop string on.

The deltas joined are exactly what decoding all tokens at once gives, cut before the first stop string, and before a
character that the last token left unfinished when it was not the model that ended the text.
"""

from collections.abc import Callable
from typing import NamedTuple

Decode = Callable[[list[int]], str]

UNFINISHED = "\ufffd"
"""What a tokenizer shows for the bytes of a character that has not arrived whole."""


class Detokenizer:
    """`push` a token and get the text that is now certain. `flush` gives the rest when no more tokens come."""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._shown = ""
        """What the tokens before the pending ones decode to: context that some tokenizers need for spaces."""
        self._pending_from = 0

    def push(self, token: int) -> str:
        self._tokens.append(token)
        text = self._decode(self._tokens)
        if text.endswith(UNFINISHED) or len(text) <= len(self._shown):
            return ""
        return self._show(text)

    def flush(self, *, is_cut: bool = False) -> str:
        """A text that is cut may end within a character, of which nothing is shown."""
        text = self._decode(self._tokens)
        return self._show(text.rstrip(UNFINISHED) if is_cut else text)

    def _show(self, text: str) -> str:
        new = text[len(self._shown) :]
        self._tokens = self._tokens[self._pending_from :]
        self._pending_from = len(self._tokens)
        self._shown = self._decode(self._tokens)
        return new


class Cut(NamedTuple):
    text: str
    is_stopped: bool


class StopFilter:
    """Holds back text that may turn out to be the beginning of a stop string."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""

    def push(self, text: str) -> Cut:
        self._held += text
        hits = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if hits:
            kept, self._held = self._held[: min(hits)], ""
            return Cut(kept, is_stopped=True)
        safe = len(self._held) - self._possible_beginning()
        kept, self._held = self._held[:safe], self._held[safe:]
        return Cut(kept, is_stopped=False)

    def flush(self) -> str:
        held, self._held = self._held, ""
        return held

    def _possible_beginning(self) -> int:
        """The length of the longest end of the held text that begins a stop string."""
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:length]):
                    longest = length
                    break
        return longest
