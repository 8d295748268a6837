"""How many threads compute a step: all of them, or one alone while something else needs the cores.

Threads that compute together wait for each other hundreds of times in a step, spinning. On cores of their own that is
fastest; beside anything else it takes several times as long as one thread alone (docs/experiments.md). Which of the
two it is can only be measured, so now and then a few steps are made the other way, and the faster way stays.
"""

import time
from collections import deque
from collections.abc import Iterable
from statistics import median

import torch

from streaming.engines.torch.runner import Runner, StepResult
from streaming.engines.torch.scheduler import Span
from streaming.engines.torch.sequence import Sequence

REMEMBERED_STEPS = 8
TRIAL_STEPS = 2
FIRST_PATIENCE_STEPS = 64
LONGEST_PATIENCE_STEPS = 256
WORTHWHILE = 0.9
"""The other way has to take less than this share of the time."""
ALARMING = 1.5
"""A step that took this many times the usual is reason to try the other way at once."""


class Pace:
    """Told how long each step took, says how many threads to use next. Compares only steps of about as many rows."""

    def __init__(self, threads: int) -> None:
        self._ways = (threads, 1)
        self._way = 0
        self._size = 0
        self._usual_s: deque[float] = deque(maxlen=REMEMBERED_STEPS)
        self._trial_s: list[float] | None = None
        self._patience_steps = self._steps_to_trial = FIRST_PATIENCE_STEPS

    def threads(self, rows: int) -> int:
        """For the next step, which decodes so many rows."""
        size = rows.bit_length()
        if size != self._size:
            self._size, self._trial_s = size, None
            self._usual_s.clear()
        elif self._trial_s is None and self._steps_to_trial <= 0 and len(self._usual_s) == REMEMBERED_STEPS:
            self._trial_s = []
        return self._ways[self._way if self._trial_s is None else 1 - self._way]

    def took(self, seconds: float) -> None:
        """The step that `threads` was asked for."""
        if self._trial_s is not None:
            self._trial_s.append(seconds)
            if len(self._trial_s) == TRIAL_STEPS:
                self._judge(min(self._trial_s))
            return
        self._steps_to_trial -= 1
        if self._way == 0 and self._usual_s and seconds > ALARMING * median(self._usual_s):
            self._steps_to_trial -= FIRST_PATIENCE_STEPS
        self._usual_s.append(seconds)

    def _judge(self, trial_s: float) -> None:
        self._trial_s = None
        if trial_s < WORTHWHILE * median(self._usual_s):
            self._way = 1 - self._way
            self._usual_s.clear()
            self._patience_steps = FIRST_PATIENCE_STEPS
        else:
            self._patience_steps = min(2 * self._patience_steps, LONGEST_PATIENCE_STEPS)
        self._steps_to_trial = self._patience_steps


class PacedRunner:
    """Runs another runner's steps with as many threads as its pace says. Used by one thread, whose setting it is."""

    def __init__(self, runner: Runner, pace: Pace) -> None:
        self._runner = runner
        self._pace = pace

    @property
    def capacity_tokens(self) -> int:
        return self._runner.capacity_tokens

    def reserve(self, sequence: Sequence, running: Iterable[Sequence]) -> bool:
        return self._runner.reserve(sequence, running)

    def release(self, sequence: Sequence, *, is_tainted: bool) -> None:
        self._runner.release(sequence, is_tainted=is_tainted)

    def step(self, spans: list[Span]) -> StepResult:
        if not all(span.is_decode for span in spans):
            return self._runner.step(spans)
        threads = self._pace.threads(len(spans))
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)
        begin = time.perf_counter()
        result = self._runner.step(spans)
        self._pace.took(time.perf_counter() - begin)
        return result
