"""Who runs in the next step, and with how many tokens. Pure bookkeeping: no torch, no clock, no thread.

Waiting generations are taken in turn from each owner, so one owner's hundred requests do not hold up another's
first. A step computes one token for every sequence that decodes and spends its prefill budget evenly over those
that still read their prompt.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from streaming.engines.torch.prefixes import ALIGN_TOKENS
from streaming.engines.torch.sequence import Sequence

IDLE_PREFILL_FACTOR = 4
"""With nobody waiting for a next token, a longer chunk reads the prompt faster and stalls no one."""


@dataclass(frozen=True, slots=True)
class Span:
    """The next tokens of one sequence: `tokens[start:end]` at positions `start` to `end`."""

    sequence: Sequence
    start: int
    end: int

    @property
    def is_decode(self) -> bool:
        return self.sequence.is_decoding

    @property
    def wants_logits(self) -> bool:
        return self.end == len(self.sequence.tokens)


class Scheduler:
    def __init__(self, max_running: int, prefill_chunk_tokens: int) -> None:
        self.max_running = max_running
        self._chunk_tokens = max(ALIGN_TOKENS, prefill_chunk_tokens // ALIGN_TOKENS * ALIGN_TOKENS)
        self._waiting: OrderedDict[str, deque[Sequence]] = OrderedDict()
        self.running: list[Sequence] = []

    @property
    def is_idle(self) -> bool:
        return not self.running and not self._waiting

    def add(self, sequence: Sequence) -> None:
        self._waiting.setdefault(sequence.owner, deque()).append(sequence)

    def waiting(self) -> Iterator[Sequence]:
        """In the order in which they will be admitted."""
        queues = [list(queue) for queue in self._waiting.values()]
        for turn in range(max(map(len, queues), default=0)):
            yield from (queue[turn] for queue in queues if turn < len(queue))

    def admit(self, can_start: Callable[[Sequence], bool]) -> list[Sequence]:
        """Move waiting sequences to running, in order, until one does not fit: nobody overtakes it."""
        admitted = []
        while self._waiting and len(self.running) < self.max_running:
            owner, queue = next(iter(self._waiting.items()))
            if not can_start(queue[0]):
                break
            sequence = queue.popleft()
            self._waiting.move_to_end(owner)
            if not queue:
                del self._waiting[owner]
            self.running.append(sequence)
            admitted.append(sequence)
        return admitted

    def remove(self, sequence: Sequence) -> None:
        if sequence in self.running:
            self.running.remove(sequence)
            return
        queue = self._waiting[sequence.owner]
        queue.remove(sequence)
        if not queue:
            del self._waiting[sequence.owner]

    def plan(self) -> list[Span]:
        decoding = [s for s in self.running if s.is_decoding]
        prefilling = [s for s in self.running if not s.is_decoding]
        budget = self._chunk_tokens * (1 if decoding else IDLE_PREFILL_FACTOR)
        spans = [Span(s, s.computed, s.computed + 1) for s in decoding]
        spans.extend(Span(s, s.computed, s.computed + n) for s, n in _share(prefilling, budget))
        return spans


def _share(prefilling: list[Sequence], budget: int) -> list[tuple[Sequence, int]]:
    """Share the budget evenly. The oldest is served first, so it always moves; then short rests, which soon speak."""
    shares = []
    in_turn = prefilling[:1] + sorted(prefilling[1:], key=_rest)
    for index, sequence in enumerate(in_turn):
        fair = budget // (len(in_turn) - index)
        aligned = max(ALIGN_TOKENS, fair // ALIGN_TOKENS * ALIGN_TOKENS)
        tokens = _rest(sequence) if _rest(sequence) <= fair else min(aligned, _rest(sequence))
        if tokens > budget:
            continue
        shares.append((sequence, tokens))
        budget -= tokens
    return shares


def _rest(sequence: Sequence) -> int:
    return len(sequence.tokens) - sequence.computed
