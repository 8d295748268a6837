"""A log that nobody reads: for warm-ups and probes."""

from collections.abc import Sequence

from streaming.events import Event
from streaming.log import Entry


class DiscardLog:
    last_position = -1
    is_closed = False

    def append(self, *events: Event) -> None:
        pass

    async def read(self, after: int, timeout_s: float | None = None) -> Sequence[Entry]:
        return ()
