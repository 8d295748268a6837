"""Who works on what, one at a time, and the newest goes first: the older one is most often a dead connection's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from uploads.errors import PartLocked

TURN_TIMEOUT_S = 10.0  # for a request that was interrupted to put away what it has


@dataclass(frozen=True, slots=True)
class Holder:
    interrupt: Callable[[], None]
    has_left: asyncio.Event = field(default_factory=asyncio.Event)


class Turns:
    """Used on one event loop. Only what is being worked on has an entry."""

    def __init__(self) -> None:
        self._holders: dict[str, Holder] = {}

    @asynccontextmanager
    async def take(self, name: str, interrupt: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
        """Interrupts whoever has it, and raises `PartLocked` if that does not help in time."""
        try:
            async with asyncio.timeout(TURN_TIMEOUT_S):
                while holder := self._holders.get(name):
                    holder.interrupt()
                    await holder.has_left.wait()
        except TimeoutError:
            raise PartLocked("Another request still works on this upload.") from None
        mine = self._holders[name] = Holder(interrupt)
        try:
            yield
        finally:
            del self._holders[name]
            mine.has_left.set()
