"""The echo engine: one thread that wakes when the next of its generations is due."""

import heapq
import itertools
import logging
import threading
import time
from dataclasses import dataclass

from streaming.engine import EngineLoad, EngineState
from streaming.engines.echo.line import Line
from streaming.engines.echo.run import Run
from streaming.engines.echo.script import read_script, to_text
from streaming.engines.echo.voice import Voice
from streaming.errors import EngineDown, GenerationFailed, Overloaded, ShuttingDown
from streaming.events import Failed, Queued, Started
from streaming.generation import Generation
from streaming.heart import Heart
from streaming.log import Log

RETRY_AFTER_S = 1
LEAVING = Failed(ShuttingDown.code, "The service is shutting down.", retryable=True)
DOWN = Failed(EngineDown.code, "The model's engine stopped working; send the request again.", retryable=True)
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EchoSpeed:
    tokens_per_second: float = 50.0
    """0 is as fast as it goes."""
    max_running: int = 32
    max_waiting: int = 256
    max_background: int = 16
    may_break: bool = False
    """Whether a prompt may crash or freeze the engine's thread."""

    @property
    def background_slots(self) -> int:
        """One slot is always left to generations that somebody waits for."""
        return max(1, min(self.max_background, self.max_running - 1))

    def places_for(self, generation: Generation) -> int:
        """Background work never fills the second half, so people are not turned away because of it."""
        places = self.max_running + self.max_waiting
        return max(1, places // 2) if generation.priority == "background" else places


class ScriptedCrash(Exception):
    """A prompt asked for it."""


class EchoEngine:
    """`streaming.engine.Engine`. Everything below `_changed` is shared and touched only while holding it."""

    def __init__(self, speed: EchoSpeed | None = None) -> None:
        self._speed = speed or EchoSpeed()
        self._changed = threading.Condition()
        self._state: EngineState = "ready"
        self._running: dict[str, Run] = {}
        self._waiting = Line()
        self._due: list[tuple[float, int, Run]] = []
        self._ties = itertools.count()
        self._thaw = threading.Event()
        self.heart = Heart()
        self._thread = threading.Thread(target=self._run, name="echo-engine", daemon=True)
        self._thread.start()

    @property
    def state(self) -> EngineState:
        return self._state

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def load(self) -> EngineLoad:
        with self._changed:
            return EngineLoad(len(self._running), len(self._waiting), self._speed.max_running, self._speed.max_waiting)

    def submit(self, generation: Generation, log: Log) -> None:
        run = self._new_run(generation, log)
        with self._changed:
            if self._state == "failed":
                raise EngineDown(DOWN.message)
            if self._state != "ready":
                raise ShuttingDown(LEAVING.message)
            if len(self._running) + len(self._waiting) >= self._speed.places_for(generation):
                raise Overloaded("The waiting queue is full.", RETRY_AFTER_S)
            log.append(started(generation))
            self._waiting.add(run)
            self._admit()
            if run.admitted_at is None:
                self._tell_places()

    def cancel(self, stream_id: str) -> None:
        with self._changed:
            waiting = [run for run in self._waiting if run.generation.stream_id == stream_id]
            for run in waiting:
                self._waiting.remove(run)
                run.finish("cancelled", time.monotonic())
                self._tell_places()
                self._changed.notify_all()
            run_now = self._running.get(stream_id)
            if run_now is not None:
                run_now.is_cancelled = True
                self._schedule(run_now, time.monotonic())
                self._changed.notify_all()

    def close(self, grace_s: float) -> None:
        with self._changed:
            if self._state == "ready":
                self._state = "draining"
            self._changed.wait_for(self._has_nothing_to_finish, grace_s)
            self._end("closed")
        self._thread.join()

    def retire(self) -> None:
        with self._changed:
            self._end("failed")

    def _new_run(self, generation: Generation, log: Log) -> Run:
        script = read_script(to_text(generation.token_ids))
        tps = self._speed.tokens_per_second if script.tps is None else script.tps
        return Run(
            generation=generation,
            log=log,
            script=script,
            interval_s=1 / tps if tps else 0.0,
            submitted_at=time.monotonic(),
            voice=Voice(generation.stop),
        )

    def _has_nothing_to_finish(self) -> bool:
        return self._state == "failed" or not (self._running or self._waiting)

    def _end(self, state: EngineState) -> None:
        self._state = state
        self._thaw.set()
        self._changed.notify_all()

    def _run(self) -> None:
        self.heart.begin()
        try:
            self._work()
        except Exception:
            logger.exception("the engine's thread died")
            with self._changed:
                self._end("failed")
        with self._changed:
            self._fail_all(DOWN if self._state == "failed" else LEAVING)

    def _work(self) -> None:
        while (due := self._take_due()) is not None:
            for due_at, run in due:
                self._step(run, due_at)

    def _take_due(self) -> list[tuple[float, Run]] | None:
        """Waits for the next step; None when the engine is closed and everything has its end."""
        with self._changed:
            while self._state in ("ready", "draining"):
                self.heart.beat()
                now = time.monotonic()
                due = []
                while self._due and self._due[0][0] <= now:
                    due_at, _, run = heapq.heappop(self._due)
                    due.append((due_at, run))
                if due:
                    return due
                self.heart.rest()
                self._changed.wait(self._due[0][0] - now if self._due else None)
            return None

    def _step(self, run: Run, due_at: float) -> None:
        """The next one is due by the clock and not by when this one was made: a rate is kept, and lateness made up."""
        if run.is_over:
            return
        if self._speed.may_break:
            self._break_if_scripted(run)
        pause_s = None
        try:
            pause_s = run.advance(time.monotonic())
        except GenerationFailed as error:
            run.fail(error)
        with self._changed:
            if run.is_over:
                self._free(run)
            elif pause_s is not None:
                self._schedule(run, due_at + pause_s)

    def _break_if_scripted(self, run: Run) -> None:
        if run.produced == run.script.crash_at:
            raise ScriptedCrash
        if run.produced == run.script.freeze_at:
            self._thaw.wait()

    def _admit(self) -> bool:
        """True when somebody was."""
        before = len(self._running)
        while len(self._running) < self._speed.max_running:
            background = sum(run.is_background for run in self._running.values())
            run = self._waiting.take(may_be_background=background < self._speed.background_slots)
            if run is None:
                break
            self._start(run)
        return len(self._running) > before

    def _start(self, run: Run) -> None:
        run.admitted_at = time.monotonic()
        self._running[run.generation.stream_id] = run
        self._schedule(run, run.admitted_at)
        self._changed.notify_all()

    def _schedule(self, run: Run, due_at: float) -> None:
        heapq.heappush(self._due, (due_at, next(self._ties), run))

    def _free(self, run: Run) -> None:
        del self._running[run.generation.stream_id]
        if self._admit():
            self._tell_places()
        self._changed.notify_all()

    def _tell_places(self) -> None:
        """Only to those whose place has changed."""
        for place, run in enumerate(self._waiting, 1):
            if run.queue_place != place:
                run.queue_place = place
                run.log.append(Queued(place, eta_ms=None))

    def _fail_all(self, failed: Failed) -> None:
        for run in (*self._running.values(), *self._waiting):
            run.log.append(failed)
        self._running.clear()
        self._waiting.clear()
        self._due.clear()


def started(generation: Generation) -> Started:
    return Started(
        stream_id=generation.stream_id,
        model=generation.model,
        model_version=generation.model_version,
        prompt_tokens=len(generation.token_ids),
        seed=generation.seed,
        created=generation.created,
    )
