"""A log in this process's memory, and the one wake-up that a batch of appended logs shares.

The engine's thread appends to dozens of logs in one step; waking the event loop once for each of them would
cost more than the step. `Waker` therefore collects the logs that changed and crosses threads once per batch.
"""

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

from streaming.events import Citation, Delta, Event, is_last
from streaming.log import UNOBSERVED, Entry, Observer

Kept: TypeAlias = Event | str
"""A plain token is kept as its text, one text for all who say it: most of a log is such tokens."""
TEXTS_MAX = 16_384
TEXT_CHARS_MAX = 32
PLACE_BYTES = 16  # in the list, which grows ahead of its need
EVENT_BYTES = 200  # a small frozen object, its numbers and its place in the list, measured with tracemalloc
LOGPROB_BYTES = 200
READ_MAX_ENTRIES = 250  # what a late reader holds at once; it comes back for the rest


class Texts:
    """One object for a text, however many logs hold it. `sys.intern` would keep each for ever on some Pythons.

    Used from any thread: each call of the dictionary is one step of Python.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def shared(self, text: str) -> str:
        if len(text) > TEXT_CHARS_MAX:
            return text
        if len(self._texts) >= TEXTS_MAX:
            self._texts.clear()
        return self._texts.setdefault(text, text)


class Waker:
    """What the logs of one event loop share: it wakes their readers. `changed` may be called from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.texts = Texts()
        self._loop = loop
        self._changed: deque[MemoryLog] = deque()
        self._is_scheduled = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def changed(self, log: "MemoryLog") -> None:
        self._changed.append(log)
        if self._is_scheduled:  # `_wake_all` has not begun: it clears the flag before it takes the first log
            return
        self._is_scheduled = True
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake_all)

    def _wake_all(self) -> None:
        self._is_scheduled = False
        while self._changed:
            self._changed.popleft().wake()


class MemoryLog:
    """`streaming.log.Log` as a list. Readers wait on the loop of the waker."""

    __slots__ = ("_kept", "_lock", "_observer", "_size_bytes", "_waiting", "_waker")

    def __init__(self, waker: Waker, observer: Observer = UNOBSERVED) -> None:
        self._waker = waker
        self._observer = observer
        self._kept: list[Kept] = []
        self._lock = threading.Lock()
        self._size_bytes = 0
        self._waiting: dict[asyncio.Future[None], int] = {}

    @property
    def last_position(self) -> int:
        return len(self._kept) - 1

    @property
    def is_closed(self) -> bool:
        last = self._kept[-1] if self._kept else ""
        return not isinstance(last, str) and is_last(last)

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def append(self, *events: Event) -> None:
        with self._lock:
            for event in events:
                if self.is_closed:
                    break
                kept = keep(event, self._waker.texts)
                self._kept.append(kept)
                self._size_bytes += size_of(kept)
                self._observer.appended(event)
        self._waker.changed(self)

    async def read(self, after: int, timeout_s: float | None = None) -> Sequence[Entry]:
        if self.last_position <= after and not self.is_closed:
            await self._wait(after, timeout_s)
        first = max(after, -1) + 1
        kept = self._kept[first : first + READ_MAX_ENTRIES]
        return [Entry(first + index, Delta(one) if isinstance(one, str) else one) for index, one in enumerate(kept)]

    async def _wait(self, after: int, timeout_s: float | None) -> None:
        """Until there is something after `after`. An append from now on finds the waiter: both go through the loop."""
        waiter = self._waker.loop.create_future()
        self._waiting[waiter] = after
        timer = None if timeout_s is None else self._waker.loop.call_later(timeout_s, release, waiter)
        try:
            await waiter
        finally:
            del self._waiting[waiter]
            if timer is not None:
                timer.cancel()

    def wake(self) -> None:
        """Called on the loop only. A late call for what was read already wakes nobody."""
        for waiter, after in self._waiting.items():
            if self.last_position > after or self.is_closed:
                release(waiter)


def release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def keep(event: Event, texts: Texts) -> Kept:
    if isinstance(event, Delta) and event.tokens == 1 and not event.logprobs:
        return texts.shared(event.text)
    return event


def size_of(event: Kept) -> int:
    """Of a text as if nobody else had said it."""
    if isinstance(event, str):
        return PLACE_BYTES + sys.getsizeof(event)
    if isinstance(event, Citation):
        return EVENT_BYTES + sys.getsizeof(event.text)
    if not isinstance(event, Delta):
        return EVENT_BYTES
    shown = sum(1 + len(one.top) for one in event.logprobs)
    return EVENT_BYTES + sys.getsizeof(event.text) + LOGPROB_BYTES * shown
