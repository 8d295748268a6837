from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streaming.engines.torch.arena import BLOCK_TOKENS, Arena, Region


def test_regions_are_whole_blocks() -> None:
    arena = Arena(1000)
    assert arena.capacity_tokens == 896
    assert arena.allocate(1) == Region(0, BLOCK_TOKENS)
    assert arena.allocate(129) == Region(128, 256)


def test_a_gap_in_the_middle_is_found_again() -> None:
    arena = Arena(10 * BLOCK_TOKENS)
    first, second, _ = (arena.allocate(200) for _ in range(3))
    assert first
    assert second
    arena.free(second)
    assert arena.allocate(256) == second


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 600)), max_size=60))
def test_regions_never_overlap_and_everything_comes_back(actions: list[tuple[bool, int]]) -> None:
    arena = Arena(16 * BLOCK_TOKENS)
    held: list[Region] = []
    for is_free, tokens in actions:
        if is_free and held:
            arena.free(held.pop(tokens % len(held)))
        elif region := arena.allocate(tokens):
            held.append(region)
        ordered = sorted(held)
        assert all(a.end <= b.start for a, b in pairwise(ordered))
        assert arena.free_tokens + sum(region.tokens for region in held) == arena.capacity_tokens
    for region in held:
        arena.free(region)
    assert arena.allocate(arena.capacity_tokens) == Region(0, arena.capacity_tokens)
