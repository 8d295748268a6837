"""Whether a thread that owns an engine still turns, and whether it computes: told by it, read by who watches it."""

import sys
import threading
import time
from typing import NamedTuple


class Look(NamedTuple):
    """What is seen of a thread at one moment; `cpu_s` is the processor time it has used, None where nobody can tell."""

    at: float
    beats: int
    is_resting: bool
    cpu_s: float | None


class Heart:
    """`begin`, `beat` and `rest` are called by the engine's own thread, `look` by any."""

    def __init__(self) -> None:
        self._cpu_clock: int | None = None
        self._beats = 0
        self._is_resting = True

    def begin(self) -> None:
        if sys.platform == "linux":
            self._cpu_clock = time.pthread_getcpuclockid(threading.get_ident())

    def beat(self) -> None:
        """Once for every turn of its loop."""
        self._beats += 1
        self._is_resting = False

    def rest(self) -> None:
        """It waits for work, and may do so for ever."""
        self._is_resting = True

    def look(self) -> Look:
        return Look(time.monotonic(), self._beats, self._is_resting, self._cpu_s())

    def _cpu_s(self) -> float | None:
        if self._cpu_clock is None:
            return None
        try:
            return time.clock_gettime(self._cpu_clock)
        except OSError:  # the thread has ended
            return None
