"""`Range` headers against a plain model of what they mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploads.ranges import MAX_RANGES, Unsatisfiable, parse_ranges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-", [(0, 10)]),
        ("bytes=-3", [(7, 10)]),
        ("bytes=-30", [(0, 10)]),
        ("bytes=5-99", [(5, 10)]),
        ("BYTES = 2-3", [(2, 4)]),
        ("bytes=0-1, 4-5", [(0, 2), (4, 6)]),
        ("bytes=4-5,0-1", [(4, 6), (0, 2)]),
        ("bytes=0-3,2-5", [(0, 6)]),
        ("bytes=0-1,2-3", [(0, 4)]),
        ("bytes=0-1,4-5,1-4", [(0, 6)]),
        ("bytes=3-4,99-", [(3, 5)]),
        ("bytes=,1-2,", [(1, 3)]),
        ("bytes=0-" + ",0-" * (MAX_RANGES - 1), [(0, 10)]),
    ],
)
def test_ranges_are_read(header: str, expected: list[tuple[int, int]]) -> None:
    assert parse_ranges(header, 10) == expected


@pytest.mark.parametrize(
    "header",
    ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=3-2", "bytes=1-2-3", "bytes=1", "lines=1-2",
     "bytes=\u0661-\u0662",
     "bytes=0-" + ",0-" * MAX_RANGES, "bytes=0-9" + "9" * 30],
)  # fmt: skip
def test_what_is_no_range_is_ignored(header: str) -> None:
    assert parse_ranges(header, 10) is None


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)])
def test_ranges_without_a_byte_cannot_be_satisfied(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        parse_ranges(header, size)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=MAX_RANGES), st.integers(1, 30))
def test_joined_ranges_hold_the_bytes_that_were_asked_for_once(asked: list[tuple[int, int]], size: int) -> None:
    pairs = [(min(pair), max(pair)) for pair in asked]
    wanted = {byte for first, last in pairs for byte in range(first, min(last + 1, size))}
    header = "bytes=" + ",".join(f"{first}-{last}" for first, last in pairs)
    if not wanted:
        with pytest.raises(Unsatisfiable):
            parse_ranges(header, size)
        return
    ranges = parse_ranges(header, size)
    assert ranges is not None
    given_bytes = [byte for start, stop in ranges for byte in range(start, stop)]
    assert sorted(given_bytes) == sorted(wanted)
