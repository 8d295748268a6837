"""The windows in memory: exact, and bounded whatever names are invented."""

from hypothesis import given
from hypothesis import strategies as st

from service.limits.memory import BoundedWindows
from tests.service.limits.clock import Clock


async def test_of_2000_requests_in_5_s_exactly_100_pass_in_any_60_s() -> None:
    """P5, and then for ten minutes: no window of 60 s has more, and a caller who never stops gets all of them."""
    clock, passed = Clock(), []
    windows = BoundedWindows(10_000, clock)
    for _ in range(240_000):
        if await windows.acquire_entry("a", 100, 60):
            passed.append(clock.now)
        clock.now += 5 / 2000
    assert sum(at < passed[0] + 5 for at in passed) == 100
    assert len(passed) == 1000
    assert all(later - at >= 60 for at, later in zip(passed, passed[100:], strict=False))


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 4)), max_size=200))
async def test_no_window_ever_holds_more_than_the_limit(steps: list[tuple[float, int]]) -> None:
    clock, taken = Clock(), []
    windows = BoundedWindows(10_000, clock)
    for pause, amount in steps:
        clock.now += pause
        if await windows.acquire_entry("a", 7, 60, amount):
            taken.append((clock.now, amount))
    for end, _ in taken:
        assert sum(amount for at, amount in taken if end - 60 < at <= end) <= 7


async def test_what_clients_invent_is_forgotten_beyond_the_bound() -> None:
    clock = Clock()
    windows = BoundedWindows(5000, clock)
    for number in range(50_000):
        assert await windows.acquire_entry(f"address:{number}", 10, 60)
        assert windows.entries <= 5000
    assert (await windows.get_moving_window("address:49999", 10, 60))[1] == 1
    assert (await windows.get_moving_window("address:0", 10, 60))[1] == 0


async def test_what_is_over_is_forgotten_when_it_is_looked_at() -> None:
    clock = Clock()
    windows = BoundedWindows(5000, clock)
    await windows.acquire_entry("a", 10, 60, 10)
    clock.now += 60
    assert await windows.get_moving_window("a", 10, 60) == (clock.now, 0)
    assert windows.entries == 0
