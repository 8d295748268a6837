"""Which tokens of the key-value cache belong to whom: a first-fit allocator over one row of token places.

A region is one contiguous run, so a sequence's keys are read without gathering, and neighbours of equal size are
read together as one strided view. It counts places and holds no tensor.
"""

from collections.abc import Iterable
from dataclasses import dataclass

BLOCK_TOKENS = 128
"""Regions are multiples of this. Decode attention reads whole blocks, so what a sequence computes depends on its own
length alone and never on its neighbours."""


@dataclass(frozen=True, slots=True, order=True)
class Region:
    start: int
    tokens: int

    @property
    def end(self) -> int:
        return self.start + self.tokens


def round_up(tokens: int, multiple: int = BLOCK_TOKENS) -> int:
    return -(-tokens // multiple) * multiple


class Arena:
    def __init__(self, capacity_tokens: int) -> None:
        self.capacity_tokens = capacity_tokens // BLOCK_TOKENS * BLOCK_TOKENS
        self._free = [Region(0, self.capacity_tokens)] if self.capacity_tokens else []

    @property
    def free_tokens(self) -> int:
        return sum(region.tokens for region in self._free)

    def would_fit(self, tokens: int, freed: Iterable[Region]) -> bool:
        """Whether `allocate` could succeed once `freed` were free."""
        gaps = _merged([*self._free, *freed])
        return any(gap.tokens >= round_up(tokens) for gap in gaps)

    def allocate(self, tokens: int) -> Region | None:
        """The first gap that is large enough, or None."""
        needed = round_up(tokens)
        for index, gap in enumerate(self._free):
            if gap.tokens >= needed:
                rest = Region(gap.start + needed, gap.tokens - needed)
                self._free[index : index + 1] = [rest] if rest.tokens else []
                return Region(gap.start, needed)
        return None

    def free(self, region: Region) -> None:
        self._free = _merged([*self._free, region])


def _merged(gaps: list[Region]) -> list[Region]:
    merged: list[Region] = []
    for gap in sorted(gaps):
        if merged and merged[-1].end == gap.start:
            merged[-1] = Region(merged[-1].start, merged[-1].tokens + gap.tokens)
        else:
            merged.append(gap)
    return merged
