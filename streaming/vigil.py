"""Decides whether an engine's thread hangs or is busy in one long step. Pure: every look brings its own time.

A step may take long: a long prompt, a slow or a crowded machine. Whoever computes uses the processor, though; a thread
that waits for what never comes does not. So a silent thread hangs when it has used almost no processor time for
`hang_s`, and also, whatever it uses, when one step takes `step_max_s`: then it runs in a circle. On a machine where
processors are waited for nearly all the time, it is given `CROWDED_PATIENCE` times as long: a false alarm ends streams.
"""

from collections import deque
from dataclasses import dataclass

from streaming.heart import Look

BUSY_SHARE = 0.02
"""Of one processor. Beside fifty other busy threads a step still gets as much."""
CROWDED_SHARE = 0.6
"""Of the time, somebody waits for a processor. Alone, an engine and its readers come to less."""
CROWDED_PATIENCE = 10
LATE_LOOKS = 4
"""After a pause of so many intervals it was this process that got no time: what was seen before says nothing."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a silent thread is waited for, and how often an engine is started again."""

    hang_s: float = 1.3
    step_max_s: float = 120.0
    max_restarts: int = 5
    restart_pause_s: float = 1.0
    """Before the second restart in a row; it doubles with each one after. The first comes at once."""
    calm_s: float = 600.0
    """An engine that has worked this long makes up for an earlier restart."""
    interval_s: float = 0.2


class Vigil:
    """Over one thread."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._looks: deque[Look] = deque()
        self._silent_since = 0.0
        self._idle_since: float | None = None

    def is_stuck(self, look: Look) -> bool:
        if self._starts_anew(look):
            self._looks.clear()
            self._silent_since = look.at
        self._looks.append(look)
        while len(self._looks) > 1 and look.at - self._looks[1].at >= self._patience.hang_s:
            self._looks.popleft()
        return look.at - self._silent_since >= self._patience.step_max_s or self._hangs(look)

    def _starts_anew(self, look: Look) -> bool:
        if look.is_resting or not self._looks:
            return True
        last = self._looks[-1]
        return look.beats != last.beats or look.at - last.at > LATE_LOOKS * self._patience.interval_s

    def _hangs(self, look: Look) -> bool:
        if not self._is_idle_in_a_step(look):
            self._idle_since = None
            return False
        if self._idle_since is None:
            self._idle_since = self._looks[0].at
        longer = CROWDED_PATIENCE if self._is_crowded(look) else 1
        return look.at - self._idle_since >= longer * self._patience.hang_s

    def _is_crowded(self, look: Look) -> bool:
        first = self._looks[0]
        if look.queued_s is None or first.queued_s is None:
            return False
        return look.queued_s - first.queued_s > CROWDED_SHARE * (look.at - first.at)

    def _is_idle_in_a_step(self, look: Look) -> bool:
        first = self._looks[0]
        span_s = look.at - first.at
        if span_s < self._patience.hang_s or look.cpu_s is None or first.cpu_s is None:
            return False
        return look.cpu_s - first.cpu_s < BUSY_SHARE * span_s
