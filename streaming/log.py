"""The append-only log of one generation, and its readers' only view of it: a position."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from streaming.events import Event


class Entry(NamedTuple):
    """An event and its place in the log. Positions start at 0 and grow by one."""

    position: int
    event: Event


class Observer(Protocol):
    """Told of every event that one log took, in order, on the writer's thread: it never blocks and never raises."""

    def appended(self, event: Event) -> None: ...


class Unobserved:
    def appended(self, event: Event) -> None:
        pass


UNOBSERVED = Unobserved()


class Observers:
    """Several as one; each is told in turn."""

    __slots__ = ("_observers",)

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def appended(self, event: Event) -> None:
        for observer in self._observers:
            observer.appended(event)


class Log(Protocol):
    """One writer, any number of readers.

    The writer is the engine's owner thread; of an answer from files also, before and after it, whoever reads and quotes
    them. `append` may be called from any thread, never blocks, and after a `Finished` or `Failed` does nothing (so a
    late event of a cancelled generation is harmless).
    Readers live on the event loop: `read` returns what stands after `position` (-1 reads from the start), without
    a hole and perhaps not all at once, waits for at least one entry when there is none yet, and returns an empty
    sequence when `timeout_s` passes first or when the log is closed and holds nothing more.
    """

    @property
    def last_position(self) -> int:
        """The position of the newest entry, -1 when the log is empty."""

    @property
    def is_closed(self) -> bool:
        """True once a `Finished` or `Failed` has been appended."""

    def append(self, *events: Event) -> None: ...

    async def read(self, after: int, timeout_s: float | None = None) -> Sequence[Entry]: ...
