"""Regions, remembered beginnings, and the wiping of what a failed sequence left."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from streaming.engines.torch.arena import BLOCK_TOKENS, Arena
from streaming.engines.torch.cache import KeyValueCache, LayerShape
from streaming.engines.torch.memory import CacheMemory
from streaming.engines.torch.prefixes import ALIGN_TOKENS
from streaming.engines.torch.sequence import Clock, Sequence
from streaming.logs.discard import DiscardLog
from tests.streaming.engines.torch.support import make_generation

BLOCKS = 8
SHAPE = LayerShape(heads=2, key_size=4, value_size=4)


def make_memory() -> CacheMemory:
    arena = Arena(BLOCKS * BLOCK_TOKENS)
    return CacheMemory(arena, KeyValueCache({0: SHAPE}, arena.capacity_tokens, torch.float32, torch.device("cpu")))


def make_sequence(tokens: range, owner: str = "somebody", max_tokens: int = 4) -> Sequence:
    generation = make_generation(list(tokens), owner=owner, max_tokens=max_tokens)
    return Sequence(generation, DiscardLog(), Clock(0.0))


def fill(memory: CacheMemory, sequence: Sequence) -> None:
    """As if the whole prompt had been computed: key and value of a token are its number."""
    assert sequence.region
    places = torch.arange(sequence.region.start, sequence.region.start + len(sequence.tokens))
    rows = torch.tensor(sequence.tokens, dtype=torch.float32).view(1, -1, 1).expand(2, -1, 4)
    memory.cache.write(0, places, rows, rows)
    sequence.computed = len(sequence.tokens)


def finish(memory: CacheMemory, sequence: Sequence) -> None:
    assert memory.reserve(sequence, [])
    fill(memory, sequence)
    memory.release(sequence, is_tainted=False)


def test_the_same_beginning_is_copied_to_the_block_border() -> None:
    memory = make_memory()
    finish(memory, make_sequence(range(100)))
    again = make_sequence(range(101))
    assert memory.reserve(again, [])
    assert again.computed == again.reused == 96 == 100 // ALIGN_TOKENS * ALIGN_TOKENS
    keys, _ = memory.cache._layers[0]
    assert again.region
    assert keys[1, again.region.start : again.region.start + 96, 2].tolist() == list(range(96))


def test_an_identical_prompt_keeps_a_token_to_compute() -> None:
    memory = make_memory()
    finish(memory, make_sequence(range(96)))
    again = make_sequence(range(96))
    memory.reserve(again, [])
    assert again.reused == 64


def test_a_running_sequence_lends_its_beginning() -> None:
    memory = make_memory()
    first = make_sequence(range(100))
    memory.reserve(first, [])
    fill(memory, first)
    first.tokens.append(5)
    second = make_sequence(range(100))
    memory.reserve(second, [first])
    assert second.reused == 96


def test_beginnings_are_kept_apart_by_owner() -> None:
    memory = make_memory()
    finish(memory, make_sequence(range(100), owner="ann"))
    other = make_sequence(range(100), owner="bob")
    memory.reserve(other, [])
    assert other.reused == 0


def test_remembered_regions_make_room_oldest_first() -> None:
    memory = make_memory()
    for start in range(BLOCKS - 1):
        finish(memory, make_sequence(range(1000 * start, 1000 * start + 100)))
    assert memory.remembered == BLOCKS - 1
    assert memory.reserve(make_sequence(range(300), max_tokens=200), [])
    assert memory.remembered == 3
    newest = make_sequence(range(6000, 6100))
    memory.reserve(newest, [])
    assert newest.reused == 96


def test_a_donor_gives_way_to_the_request_it_would_help() -> None:
    """Else that request, and everybody behind it, would wait for ever for a region that only it could free."""
    memory = make_memory()
    longest = memory.capacity_tokens - 100
    for _ in range(3):
        sequence = make_sequence(range(100), max_tokens=longest)
        assert memory.reserve(sequence, [])
        sequence.tokens.extend(range(longest))
        fill(memory, sequence)
        memory.release(sequence, is_tainted=False)


def test_a_short_answer_gives_back_what_it_did_not_use() -> None:
    memory = make_memory()
    finish(memory, make_sequence(range(100), max_tokens=700))
    assert memory._arena.free_tokens == memory.capacity_tokens - BLOCK_TOKENS


def test_who_waits_for_running_ones_takes_no_beginning_from_others() -> None:
    memory = make_memory()
    running = make_sequence(range(500, 600), max_tokens=300)
    assert memory.reserve(running, [])
    finish(memory, make_sequence(range(100)))
    waiting = make_sequence(range(2000, 2100), max_tokens=500)
    for _ in range(3):
        assert not memory.reserve(waiting, [running])
        assert memory.remembered == 1
    memory.release(running, is_tainted=True)
    assert memory.reserve(waiting, [])


@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 700), st.integers(0, 3), st.booleans()), max_size=40),
    st.integers(2, (BLOCKS - 1) * BLOCK_TOKENS),
)
def test_with_nothing_running_everything_up_to_the_capacity_fits(
    past: list[tuple[int, int, int, bool]], needed: int
) -> None:
    """Whatever ran before, in whatever order it left, and whoever it may help."""
    memory = make_memory()
    running: list[Sequence] = []
    for prompt, max_tokens, place, is_tainted in past:
        sequence = make_sequence(range(prompt), max_tokens=max_tokens)
        if memory.reserve(sequence, running):
            fill(memory, sequence)
            running.append(sequence)
        if len(running) > place:
            memory.release(running.pop(place), is_tainted=is_tainted)
    for sequence in running:
        memory.release(sequence, is_tainted=False)
    assert memory.capacity_tokens == (BLOCKS - 1) * BLOCK_TOKENS
    assert memory.reserve(make_sequence(range(needed - 1), max_tokens=1), [])


def test_running_regions_are_never_taken() -> None:
    memory = make_memory()
    running = [make_sequence(range(100)) for _ in range(BLOCKS - 1)]
    assert all(memory.reserve(sequence, []) for sequence in running)
    assert not memory.reserve(make_sequence(range(10)), running)
    memory.release(running[0], is_tainted=True)
    assert memory.reserve(make_sequence(range(10)), running[1:])


def test_a_tainted_region_is_wiped_and_not_remembered() -> None:
    """A NaN left behind would poison whoever gets the place next, even where the mask is zero."""
    memory = make_memory()
    sequence = make_sequence(range(100))
    memory.reserve(sequence, [])
    fill(memory, sequence)
    for tensor in memory.cache._layers[0]:
        assert sequence.region
        tensor[:, sequence.region.start : sequence.region.end] = torch.nan
    memory.release(sequence, is_tainted=True)
    assert memory.remembered == 0
    assert all(not tensor.isnan().any() for tensor in memory.cache._layers[0])
