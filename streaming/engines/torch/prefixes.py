"""Finds the cached beginning that a new prompt shares with earlier generations of the same owner.

Donors are sequences that run now and regions that finished ones left behind. Left-behind regions are given up,
oldest use first, when the arena needs their room.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.engines.torch.arena import Region
from streaming.engines.torch.sequence import Sequence

ALIGN_TOKENS = 32
"""A reused beginning ends on the border of an attention block, so the rest is computed exactly as without reuse."""
MAX_KEPT = 256

Tokens = NDArray[np.int32]


class Donor(NamedTuple):
    region: Region
    tokens: int


class Prefixes:
    def __init__(self) -> None:
        self._kept: OrderedDict[Region, tuple[str, Tokens]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, owner: str, tokens: list[int], region: Region) -> Region | None:
        """Keep a finished sequence's region. Returns a region to free when there are too many."""
        self._kept[region] = (owner, np.array(tokens, dtype=np.int32))
        return self.evict() if len(self._kept) > MAX_KEPT else None

    def evict(self, spare: Region | None = None) -> Region | None:
        """Give up the region that was used least recently, but not `spare`."""
        oldest = next((region for region in self._kept if region != spare), None)
        if oldest:
            del self._kept[oldest]
        return oldest

    def find(self, sequence: Sequence, running: Iterable[Sequence]) -> Donor | None:
        """The longest aligned beginning of the prompt; at least one prompt token is left to compute."""
        prompt = np.array(sequence.generation.token_ids[:-1], dtype=np.int32)
        best: Donor | None = None
        for region, tokens in self._candidates(sequence.owner, running):
            shared = _common_prefix(prompt, tokens) // ALIGN_TOKENS * ALIGN_TOKENS
            if shared > (best.tokens if best else 0):
                best = Donor(region, shared)
        if best and best.region in self._kept:
            self._kept.move_to_end(best.region)
        return best

    def _candidates(self, owner: str, running: Iterable[Sequence]) -> Iterable[tuple[Region, Tokens]]:
        for region, (kept_owner, tokens) in self._kept.items():
            if kept_owner == owner:
                yield region, tokens
        for other in running:
            if other.owner == owner and other.region and other.is_decoding:
                yield other.region, np.array(other.tokens[: other.computed], dtype=np.int32)


def _common_prefix(a: Tokens, b: Tokens) -> int:
    length = min(len(a), len(b))
    different = np.flatnonzero(a[:length] != b[:length])
    return int(different[0]) if len(different) else length
