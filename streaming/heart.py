"""Whether a thread that owns an engine still turns, and whether it computes: told by it, read by who watches it."""

import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

PRESSURE = Path("/proc/pressure/cpu")


class Look(NamedTuple):
    """What is seen of a thread at one moment. None stands for what nobody can tell.

    `cpu_s` is the processor time it has used; `queued_s` how long, all in all, somebody on this machine had to wait for
    a processor: where that grows as fast as the time, a thread may stand still only because it gets none.
    """

    at: float
    beats: int
    is_resting: bool
    cpu_s: float | None
    queued_s: float | None = None


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
        return Look(time.monotonic(), self._beats, self._is_resting, self._cpu_s(), queued_s())

    def _cpu_s(self) -> float | None:
        if self._cpu_clock is None:
            return None
        try:
            return time.clock_gettime(self._cpu_clock)
        except OSError:  # the thread has ended
            return None


def queued_s() -> float | None:
    """As Linux counts it since the machine started; None where it does not."""
    try:
        some = PRESSURE.read_text("ascii").splitlines()[0]
        return int(some.rpartition("total=")[2]) / 1_000_000
    except (OSError, ValueError, IndexError):
        return None
