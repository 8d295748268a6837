"""What runs generations. The contract below is proved for every engine by `tests/contract/test_engine.py`."""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from streaming.generation import Generation
from streaming.log import Log

EngineState: TypeAlias = Literal["loading", "ready", "failed", "draining", "closed"]


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """How busy an engine is right now."""

    running: int
    waiting: int
    max_running: int
    max_waiting: int


class Engine(Protocol):
    """The two-phase promise.

    1. `submit` raises whatever is known before the first token (`InvalidGeneration`, `Overloaded`,
       `EngineUnavailable`) and has then written nothing. Otherwise it returns at once.
    2. Then the log gets `Started`, any number of `Queued`, `Progress` and `Delta`, and exactly one `Finished`
       or `Failed`. Nothing after. Whoever is admitted gets a `Progress` or a `Delta` at once: until then it waits.
    3. The deltas joined are the whole text: no broken UTF-8, so nothing of a character that `max_tokens` cuts, and no
       text from a stop string on, which ends it also before `min_tokens`. No end token does.
    4. `cancel` frees the slot within one model step; it is idempotent, an unknown id does nothing, and it works
       in the queue, in prefill and in decode. The log then ends with `Finished("cancelled")`.
    5. One bad generation fails alone; the others' texts stay the same.
    6. The same `Generation` gives the same text whatever runs beside it.
    7. A foreground generation is admitted before every background one that waits (but for a rare turn of theirs, so
       that they do not wait for ever), and finds a slot although background ones have filled theirs.

    All methods may be called from any thread and do not block, but for `close`.
    """

    @property
    def state(self) -> EngineState: ...

    @property
    def load(self) -> EngineLoad: ...

    def submit(self, generation: Generation, log: Log) -> None: ...

    def cancel(self, stream_id: str) -> None: ...

    def close(self, grace_s: float) -> None:
        """Take no more work, let what runs finish for `grace_s`, fail the rest with `shutting_down`, and join."""
