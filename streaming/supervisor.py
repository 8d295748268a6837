"""An engine that is watched: when its thread hangs or dies, its streams fail in time and another one takes its place.

The thread of a hung engine cannot be ended. It is left behind with what it holds, and whatever it says later reaches
nobody: the logs are closed, and the next engine has a memory of its own.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias

from streaming.engine import Engine, EngineLoad, EngineState
from streaming.errors import EngineDown
from streaming.events import Event, Failed, is_last
from streaming.generation import Generation
from streaming.heart import Heart
from streaming.log import Entry, Log
from streaming.vigil import Patience, Vigil

Ailment: TypeAlias = Literal["hangs", "died"]
LONGEST_PAUSE_S = 60.0
RESTART_ENDS_WITHIN_S = 10.0
STOPPED = Failed(EngineDown.code, "The model's engine stopped working; send the request again.", retryable=True)
_log = logging.getLogger("headwater.supervisor")


class Watchable(Engine, Protocol):
    @property
    def heart(self) -> Heart: ...

    @property
    def is_alive(self) -> bool:
        """Whether its thread lives."""

    def retire(self) -> None:
        """It is replaced: `close` waits no more, and its thread ends as soon as it comes back from wherever it is."""


class WatchedLog:
    """Passes everything on, and says when nothing more will come."""

    __slots__ = ("_log", "_on_end")

    def __init__(self, log: Log, on_end: Callable[[], None]) -> None:
        self._log = log
        self._on_end = on_end

    @property
    def last_position(self) -> int:
        return self._log.last_position

    @property
    def is_closed(self) -> bool:
        return self._log.is_closed

    def append(self, *events: Event) -> None:
        self._log.append(*events)
        if events and is_last(events[-1]):
            self._on_end()

    async def read(self, after: int, timeout_s: float | None = None) -> Sequence[Entry]:
        return await self._log.read(after, timeout_s)


class SupervisedEngine:
    """`streaming.engine.Engine`. `start` makes an engine of the same model; the first call is made here.

    It is called again in a thread of this object, and may take its time there.
    """

    def __init__(self, start: Callable[[], Watchable], name: str, patience: Patience | None = None) -> None:
        self._start = start
        self._name = name
        self._patience = patience or Patience()
        self._engine = start()
        self._lock = threading.Lock()  # over which engine it is, its trouble and its logs; never held while waiting
        self._trouble: str | None = None
        self._logs: dict[str, Log] = {}
        self._restarts: deque[float] = deque()
        self._restart_count = 0
        self._is_closing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"watch-{name}", daemon=True)
        self._thread.start()

    @property
    def state(self) -> EngineState:
        return "failed" if self._trouble else self._engine.state

    @property
    def trouble(self) -> str | None:
        """What is wrong, for whoever runs the service; None while nothing is known to be."""
        return self._trouble

    @property
    def restarts(self) -> int:
        """How often another engine was started in the place of a broken one."""
        return self._restart_count

    @property
    def load(self) -> EngineLoad:
        load = self._engine.load
        return EngineLoad(0, 0, load.max_running, load.max_waiting) if self._trouble else load

    def submit(self, generation: Generation, log: Log) -> None:
        with self._lock:
            if self._trouble:
                raise EngineDown("The model's engine is being started again; send the request again.")
            engine, stream_id = self._engine, generation.stream_id
            self._logs[stream_id] = log
        try:
            engine.submit(generation, WatchedLog(log, lambda: self._forget(stream_id)))
        except Exception:
            self._forget(stream_id)
            raise

    def cancel(self, stream_id: str) -> None:
        self._engine.cancel(stream_id)

    def close(self, grace_s: float) -> None:
        """Watched to the end: an engine that hangs while it finishes would keep its readers for ever."""
        self._is_closing = True
        self._engine.close(grace_s)
        self._stop.set()
        self._thread.join(RESTART_ENDS_WITHIN_S)

    def _forget(self, stream_id: str) -> None:
        self._logs.pop(stream_id, None)

    def _watch(self) -> None:
        vigil = Vigil(self._patience)
        while not self._stop.wait(self._patience.interval_s):
            ailment = self._ailment(vigil)
            if ailment is not None:
                self._recover(ailment)
                vigil = Vigil(self._patience)

    def _ailment(self, vigil: Vigil) -> Ailment | None:
        engine = self._engine
        if engine.state == "closed":
            return None
        if engine.state == "failed" or not engine.is_alive:
            return "died"
        return "hangs" if vigil.is_stuck(engine.heart.look()) else None

    def _recover(self, ailment: Ailment) -> None:
        self._give_up_engine(ailment)
        while not self._is_closing and self._may_restart():
            pause_s = self._pause_s()
            self._restarts.append(time.monotonic())
            if self._stop.wait(pause_s):
                return
            if self._restart():
                return
        if not self._is_closing:
            self._say(f"{self._trouble}; after {len(self._restarts)} restarts it is given up: start the service again")
        self._stop.wait()

    def _give_up_engine(self, ailment: Ailment) -> None:
        with self._lock:
            self._say(f"its thread {ailment}")
            logs = [*self._logs.values()]
            self._logs.clear()
        self._engine.retire()
        for log in logs:
            log.append(STOPPED)
        _log.error("model %s: %d generations failed with it", self._name, len(logs))

    def _restart(self) -> bool:
        try:
            engine = self._start()
        except Exception:  # noqa: BLE001  the watch must go on, whatever a model raises
            _log.exception("model %s: its engine could not be started again", self._name)
            return False
        with self._lock:
            self._engine, self._trouble = engine, None
            self._restart_count += 1
        _log.warning("model %s: its engine works again", self._name)
        if self._is_closing:
            engine.close(0)
        return True

    def _may_restart(self) -> bool:
        while self._restarts and time.monotonic() - self._restarts[0] > self._patience.calm_s:
            self._restarts.popleft()
        return len(self._restarts) < self._patience.max_restarts

    def _pause_s(self) -> float:
        earlier = len(self._restarts)
        return min(self._patience.restart_pause_s * 2.0 ** (earlier - 1), LONGEST_PAUSE_S) if earlier else 0.0

    def _say(self, trouble: str) -> None:
        self._trouble = trouble
        _log.error("model %s: %s", self._name, trouble)
