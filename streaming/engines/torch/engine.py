"""The handle that other threads hold: it counts places, refuses early, and passes everything else to the worker."""

import logging
import math
import threading
import time
import weakref
from collections.abc import Callable

from streaming.engine import EngineLoad, EngineState
from streaming.engines.torch.sequence import Clock, Sequence
from streaming.engines.torch.worker import Cancel, Close, Inbox, Submit, Worker
from streaming.errors import EngineDown, Overloaded, PromptTooLong, ShuttingDown
from streaming.events import Started
from streaming.generation import Generation
from streaming.heart import Heart
from streaming.log import Log

logger = logging.getLogger(__name__)

LONGEST_RETRY_AFTER_S = 60
CLOSE_MARGIN_S = 5.0
"""How long `close` waits beyond its grace for the step that is being computed."""


class TorchEngine:
    """Implements `streaming.engine.Engine`. The lock guards the state and the count, never the model."""

    def __init__(
        self,
        make_worker: Callable[[Callable[[], None]], Worker],
        inbox: Inbox,
        *,
        max_running: int,
        max_waiting: int,
        capacity_tokens: int,
        name: str = "model",
    ) -> None:
        self.capacity_tokens = capacity_tokens
        self._inbox = inbox
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._places_taken = 0
        self._state: EngineState = "ready"
        self._worker = make_worker(weakly(self._give_place_back))
        self._has_left = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"headwater-{name}", daemon=True)
        self._thread.start()

    @property
    def state(self) -> EngineState:
        return self._state

    @property
    def heart(self) -> Heart:
        return self._worker.heart

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def load(self) -> EngineLoad:
        running = self._worker.running
        return EngineLoad(running, max(self._places_taken - running, 0), self._max_running, self._max_waiting)

    def submit(self, generation: Generation, log: Log) -> None:
        needed = len(generation.token_ids) + generation.max_tokens
        if needed > self.capacity_tokens:
            raise PromptTooLong(
                f"The prompt and its answer need {needed} tokens, more than the {self.capacity_tokens} of the memory."
            )
        with self._lock:
            self._check_open()
            if self._places_taken >= self._places_for(generation):
                raise Overloaded(f"All {self._max_waiting} places in the queue are taken.", self._retry_after_s())
            self._places_taken += 1
            log.append(_started(generation))
            self._inbox.put(Submit(Sequence(generation, log, Clock(submitted=time.monotonic()))))

    def cancel(self, stream_id: str) -> None:
        self._inbox.put(Cancel(stream_id))

    def close(self, grace_s: float) -> None:
        with self._lock:
            if self._state == "ready":
                self._state = "draining"
        self._inbox.put(Close(time.monotonic() + grace_s))
        self._has_left.wait(grace_s + CLOSE_MARGIN_S)

    def retire(self) -> None:
        with self._lock:
            self._state = "failed"
        self._worker.retire()
        self._has_left.set()

    def _places_for(self, generation: Generation) -> int:
        """Background work never fills the second half, so people are not turned away because of it."""
        places = self._max_running + self._max_waiting
        return max(1, places // 2) if generation.priority == "background" else places

    def _check_open(self) -> None:
        if self._state == "failed":
            raise EngineDown("The model's engine has stopped; it has to be restarted.")
        if self._state != "ready":
            raise ShuttingDown("The service is shutting down; send the request again.")

    def _retry_after_s(self) -> int:
        """When a place becomes free, by the pace of the generations before."""
        return min(max(1, math.ceil((self._worker.eta_ms(1) or 1000) / 1000)), LONGEST_RETRY_AFTER_S)

    def _give_place_back(self) -> None:
        with self._lock:
            self._places_taken -= 1

    def _run(self) -> None:
        try:
            self._worker.run()
        except Exception:
            logger.exception("the engine's thread died")
            self._leave("failed")
        else:
            self._leave("closed")
        finally:
            self._has_left.set()

    def _leave(self, state: EngineState) -> None:
        """From here on `submit` refuses, so nothing can slip into the inbox after it is emptied."""
        with self._lock:
            self._state = state
        self._worker.abandon(EngineDown("The model's engine stopped working; send the request again."))


def weakly(method: Callable[[], None]) -> Callable[[], None]:
    """Without a circle of engine and worker, which would keep a closed model's memory until garbage is collected."""
    reference = weakref.WeakMethod(method)

    def call() -> None:
        bound = reference()
        if bound is not None:
            bound()

    return call


def _started(generation: Generation) -> Started:
    return Started(
        generation.stream_id,
        generation.model,
        generation.model_version,
        len(generation.token_ids),
        generation.seed,
        generation.created,
    )
