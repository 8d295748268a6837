"""The moving windows of one process, as a storage of `limits`: bounded in memory, with a clock that is passed in.

The library's own grows with every name that clients invent. This one forgets whoever was silent longest.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable

from limits.aio.storage.base import MovingWindowSupport, Storage


class BoundedWindows(Storage, MovingWindowSupport):
    """Used on one event loop; nothing in it waits, so that each call is one step."""

    def __init__(self, max_entries: int, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._max_entries = max_entries
        self._clock = clock
        self._windows: OrderedDict[str, deque[float]] = OrderedDict()
        self.entries = 0

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        now = self._clock()
        window = self._current(key, now - expiry)
        if len(window) + amount > limit:
            return False
        window.extend([now] * amount)
        self.entries += amount
        self._windows[key] = window
        self._windows.move_to_end(key)
        while self.entries > self._max_entries and len(self._windows) > 1:
            self._forget(next(iter(self._windows)))
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Its oldest entry, or now, and how many there are."""
        now = self._clock()
        window = self._current(key, now - expiry)
        return (window[0] if window else now), len(window)

    def _current(self, key: str, since: float) -> deque[float]:
        window = self._windows.get(key, deque())
        while window and window[0] <= since:
            window.popleft()
            self.entries -= 1
        if not window:
            self._windows.pop(key, None)
        return window

    def _forget(self, key: str) -> None:
        self.entries -= len(self._windows.pop(key))

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError("moving windows only")

    async def get(self, key: str) -> int:
        return len(self._windows.get(key, ()))

    async def get_expiry(self, key: str) -> float:
        raise NotImplementedError("moving windows only")

    async def check(self) -> bool:
        return True

    async def reset(self) -> int:
        self.entries, count = 0, len(self._windows)
        self._windows.clear()
        return count

    async def clear(self, key: str) -> None:
        if key in self._windows:
            self._forget(key)
