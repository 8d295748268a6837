"""Gives each running sequence its region of the cache, and fills it with a beginning that is already known."""

from collections.abc import Iterable, Mapping

import torch

from streaming.engines.torch.arena import BLOCK_TOKENS, Arena, Region, round_up
from streaming.engines.torch.cache import KeyValueCache, LayerShape, bytes_per_token
from streaming.engines.torch.prefixes import Prefixes
from streaming.engines.torch.sequence import Sequence


class CacheMemory:
    def __init__(self, arena: Arena, cache: KeyValueCache) -> None:
        self.cache = cache
        self._arena = arena
        self._prefixes = Prefixes()
        scratch = arena.allocate(1)
        assert scratch is not None  # noqa: S101  the arena is checked to hold more than one block before
        self.scratch = scratch
        """Where padding rows of a step write their keys; nobody reads it."""
        self.capacity_tokens = arena.capacity_tokens - scratch.tokens

    @property
    def remembered(self) -> int:
        """How many finished generations are kept for their beginnings."""
        return len(self._prefixes)

    def reserve(self, sequence: Sequence, running: Iterable[Sequence]) -> bool:
        """Reserve room for prompt and answer; False when running sequences hold too much of it."""
        donor = self._prefixes.find(sequence, running)
        region = self._allocate(sequence.needed_tokens, spare=donor.region if donor else None)
        if region is None and donor:
            donor = None
            region = self._allocate(sequence.needed_tokens, spare=None)
        if region is None:
            return False
        sequence.region = region
        if donor:
            self.cache.copy(donor.region, region, donor.tokens)
            sequence.computed = sequence.reused = donor.tokens
        return True

    def release(self, sequence: Sequence, *, is_tainted: bool) -> None:
        """A tainted region may hold NaN and is wiped; any other stays as a beginning to reuse."""
        region = sequence.region
        if region is None:
            return
        sequence.region = None
        if is_tainted:
            self.cache.clear(region)
            self._arena.free(region)
        else:
            known = Region(region.start, round_up(max(sequence.computed, 1)))
            if known.tokens < region.tokens:
                self._arena.free(Region(known.end, region.tokens - known.tokens))
            evicted = self._prefixes.keep(sequence.owner, sequence.tokens[: sequence.computed], known)
            if evicted:
                self._arena.free(evicted)

    def _allocate(self, tokens: int, spare: Region | None) -> Region | None:
        """Remembered regions make room, oldest first, but for nothing that would not fit even then.

        The donor's own goes last, and then the prompt is recomputed.
        """
        if not self._arena.would_fit(tokens, self._prefixes.regions(spare)):
            return None
        region = self._arena.allocate(tokens)
        while region is None and (evicted := self._prefixes.evict(spare)):
            self._arena.free(evicted)
            region = self._arena.allocate(tokens)
        return region


def open_memory(
    shapes: Mapping[int, LayerShape], kv_cache_bytes: int, dtype: torch.dtype, device: torch.device
) -> CacheMemory:
    """As many tokens as the budget holds, and a few blocks at least."""
    arena = Arena(max(kv_cache_bytes // bytes_per_token(shapes, dtype), 3 * BLOCK_TOKENS))
    return CacheMemory(arena, KeyValueCache(shapes, arena.capacity_tokens, dtype, device))
