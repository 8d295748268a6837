"""From tokens to text that may be shown: whole characters only, and nothing from a stop string on."""

import codecs


class Voice:
    """Holds back what may still become part of a character or of a stop string."""

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._stop = stop
        self._held = ""
        self.is_stopped = False

    def say(self, token: bytes) -> str:
        self._held += self._decoder.decode(token)
        found = [place for one in self._stop if (place := self._held.find(one)) >= 0]
        if found:
            self.is_stopped = True
            text, self._held = self._held[: min(found)], ""
            return text
        return self._release(len(self._held) - self._doubtful())

    def rest(self) -> str:
        """What was held back when the generation ended; an unfinished character is dropped."""
        return self._release(len(self._held))

    def _release(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        return text

    def _doubtful(self) -> int:
        """How long the longest end of the held text is that begins a stop string."""
        longest = max((len(one) for one in self._stop), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(one.startswith(self._held[-length:]) for one in self._stop):
                return length
        return 0
