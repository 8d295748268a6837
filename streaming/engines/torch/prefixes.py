"""Finds the cached beginning that a new prompt shares with earlier generations of the same owner.

Donors are sequences that run now and regions that finished ones left behind. Left-behind regions are given up,
oldest use first, when the arena needs their room.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from streaming.engines.torch.arena import Region
from streaming.engines.torch.sequence import Sequence

ALIGN_TOKENS = 32
"""A reused beginning ends on the border of an attention block, so the rest is computed exactly as without reuse."""
MAX_KEPT = 256


class Donor(NamedTuple):
    region: Region
    tokens: int


class Prefixes:
    def __init__(self) -> None:
        self._kept: OrderedDict[Region, tuple[str, list[int]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, owner: str, tokens: list[int], region: Region) -> Region | None:
        """Keep a finished sequence's region. Returns a region to free when there are too many."""
        self._kept[region] = (owner, tokens)
        return self.evict() if len(self._kept) > MAX_KEPT else None

    def regions(self, spare: Region | None = None) -> list[Region]:
        """What could be given up, but for `spare`."""
        return [region for region in self._kept if region != spare]

    def evict(self, spare: Region | None = None) -> Region | None:
        """Give up the region that was used least recently, but not `spare`."""
        oldest = next((region for region in self._kept if region != spare), None)
        if oldest:
            del self._kept[oldest]
        return oldest

    def find(self, sequence: Sequence, running: Iterable[Sequence]) -> Donor | None:
        """The longest aligned beginning of the prompt; at least one prompt token is left to compute."""
        prompt = sequence.tokens[: sequence.prompt_tokens - 1]
        best: Donor | None = None
        for region, tokens in self._candidates(sequence.owner, running):
            shared = _shared_tokens(prompt, tokens)
            if shared > (best.tokens if best else 0):
                best = Donor(region, shared)
        if best and best.region in self._kept:
            self._kept.move_to_end(best.region)
        return best

    def _candidates(self, owner: str, running: Iterable[Sequence]) -> Iterable[tuple[Region, list[int]]]:
        for region, (kept_owner, tokens) in self._kept.items():
            if kept_owner == owner:
                yield region, tokens
        for other in running:
            if other.owner == owner and other.region and other.is_decoding:
                yield other.region, other.tokens[: other.computed]


def _shared_tokens(prompt: list[int], tokens: list[int]) -> int:
    """How many whole blocks are the same from the start, in tokens."""
    shared = 0
    longest = min(len(prompt), len(tokens)) // ALIGN_TOKENS * ALIGN_TOKENS
    while shared < longest and prompt[shared : shared + ALIGN_TOKENS] == tokens[shared : shared + ALIGN_TOKENS]:
        shared += ALIGN_TOKENS
    return shared
