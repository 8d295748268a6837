"""Who is admitted next: owners take turns, people go before background work, and background work is not forgotten."""

from collections import OrderedDict, deque
from collections.abc import Iterator

from streaming.engines.torch.sequence import Sequence

BACKGROUND_TURN = 32
"""While people keep waiting, every 32nd admission is background's: even a service that is always full comes to it."""


class Turns:
    """Taken in turn from each owner, so one owner's hundred requests do not hold up another's first."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[Sequence]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __iter__(self) -> Iterator[Sequence]:
        queues = [list(queue) for queue in self._queues.values()]
        for turn in range(max(map(len, queues), default=0)):
            yield from (queue[turn] for queue in queues if turn < len(queue))

    def add(self, sequence: Sequence) -> None:
        self._queues.setdefault(sequence.owner, deque()).append(sequence)

    def first(self) -> Sequence:
        return next(iter(self._queues.values()))[0]

    def take(self) -> Sequence:
        sequence = self.first()
        self.remove(sequence)
        if sequence.owner in self._queues:
            self._queues.move_to_end(sequence.owner)
        return sequence

    def remove(self, sequence: Sequence) -> None:
        queue = self._queues[sequence.owner]
        queue.remove(sequence)
        if not queue:
            del self._queues[sequence.owner]


class Waiting:
    """Two lines. Background work moves up when nobody else waits, or when it is its turn."""

    def __init__(self) -> None:
        self._foreground = Turns()
        self._background = Turns()
        self._passed = 0

    def __bool__(self) -> bool:
        return bool(self._foreground or self._background)

    def __iter__(self) -> Iterator[Sequence]:
        """In the order in which they will be admitted, but for background's rare turn."""
        yield from self._foreground
        yield from self._background

    def add(self, sequence: Sequence) -> None:
        self._line_of(sequence).add(sequence)

    def remove(self, sequence: Sequence) -> None:
        self._line_of(sequence).remove(sequence)

    def first(self, *, may_be_background: bool) -> Sequence | None:
        line = self._next_line(may_be_background)
        return line.first() if line else None

    def take(self, sequence: Sequence) -> None:
        """`sequence` is what `first` gave."""
        self._line_of(sequence).take()
        overtaken = self._background and not sequence.is_background
        self._passed = self._passed + 1 if overtaken else 0

    def _next_line(self, may_be_background: bool) -> Turns:
        if not may_be_background:
            return self._foreground
        is_its_turn = not self._foreground or self._passed >= BACKGROUND_TURN - 1
        return self._background if self._background and is_its_turn else self._foreground

    def _line_of(self, sequence: Sequence) -> Turns:
        return self._background if sequence.is_background else self._foreground
