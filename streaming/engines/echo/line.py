"""Who waits for a slot of the echo engine: people first, background work when nobody else waits or it is its turn."""

from collections import deque
from collections.abc import Iterator

from streaming.engines.echo.run import Run

BACKGROUND_TURN = 32
"""While people keep waiting, every 32nd admission is background's."""


class Line:
    def __init__(self) -> None:
        self._foreground: deque[Run] = deque()
        self._background: deque[Run] = deque()
        self._passed = 0

    def __len__(self) -> int:
        return len(self._foreground) + len(self._background)

    def __iter__(self) -> Iterator[Run]:
        yield from self._foreground
        yield from self._background

    def add(self, run: Run) -> None:
        self._line_of(run).append(run)

    def remove(self, run: Run) -> None:
        self._line_of(run).remove(run)

    def take(self, *, may_be_background: bool) -> Run | None:
        is_its_turn = not self._foreground or self._passed >= BACKGROUND_TURN - 1
        if self._background and may_be_background and is_its_turn:
            self._passed = 0
            return self._background.popleft()
        if not self._foreground:
            return None
        self._passed = self._passed + 1 if self._background else 0
        return self._foreground.popleft()

    def clear(self) -> None:
        self._foreground.clear()
        self._background.clear()

    def _line_of(self, run: Run) -> deque[Run]:
        return self._background if run.is_background else self._foreground
