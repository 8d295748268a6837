"""What is this index's own: files of vectors that are rewritten, damage that is told, owners that take turns."""

import asyncio
import stat
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.test_index import HOLIDAY, PUMP, RENT, entry, found, put
from uploads.documents.document import Document
from uploads.documents.pieces import Piece
from uploads.errors import StoreFailed
from uploads.index import Embedded, IndexedDocument
from uploads.stores.index import SqliteIndex
from uploads.stores.index.index import OPEN_OWNERS_MAX
from uploads.stores.index.owner import REWRITE_DEAD_ROWS
from uploads.stores.index.vectors import Range, VectorFile, merged, write_rows


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SqliteIndex]:
    opened = SqliteIndex(tmp_path / "index")
    yield opened
    await opened.close()


def files(folder: Path, suffix: str) -> list[Path]:
    return sorted((folder / "index").glob(f"*{suffix}"))


async def put_large(index: SqliteIndex, upload_id: str, pieces: int) -> None:
    parts = [Piece(n, n, n + 1, None, "", "x") for n in range(pieces)]
    document = IndexedDocument(upload_id, "large.txt", Document("x" * pieces, ()), parts)
    await index.put("ann", document, Embedded(np.ones((pieces, 8), np.float32), "v1"))


async def test_holes_are_closed_when_they_outweigh_what_is_left(index: SqliteIndex, tmp_path: Path) -> None:
    """Readers that had the old file open find the same as before."""
    other = SqliteIndex(tmp_path / "index")
    try:
        await put_large(index, "large", REWRITE_DEAD_ROWS + 1)
        await put(index, "ann", entry("u1", PUMP, RENT))
        await put(index, "ann", entry("u2", HOLIDAY))
        before = await found(other, "ann", "rent holiday", upload_ids=["u1", "u2"])
        (old,) = files(tmp_path, ".f32")
        await index.remove("ann", "large")
        (new,) = files(tmp_path, ".f32")
        assert new != old
        assert new.stat().st_size == 3 * 8 * 4
        for reader in (index, other):
            assert await found(reader, "ann", "rent holiday", upload_ids=["u1", "u2"]) == before
            document = await reader.find("ann", "u1")
            assert document is not None
            assert [piece.text for piece in document.pieces] == [PUMP, RENT]
        await put(index, "ann", entry("u3", PUMP))
        assert {upload_id for upload_id, _ in await found(other, "ann", "pump")} == {"u1", "u2", "u3"}
    finally:
        await other.close()


async def test_nobody_else_can_look_into_the_folder(index: SqliteIndex, tmp_path: Path) -> None:
    await put(index, "ann", entry("u1", PUMP))
    assert stat.S_IMODE((tmp_path / "index").stat().st_mode) == 0o700


async def test_a_lost_file_of_vectors_is_told(index: SqliteIndex, tmp_path: Path) -> None:
    await put(index, "ann", entry("u1", PUMP))
    (vectors,) = files(tmp_path, ".f32")
    vectors.write_bytes(b"")
    with pytest.raises(StoreFailed, match="damaged"):
        await found(index, "ann", "pump")


async def test_a_file_that_is_no_index_is_told(index: SqliteIndex, tmp_path: Path) -> None:
    await put(index, "ann", entry("u1", PUMP))
    await index.close()
    (database,) = files(tmp_path, ".sqlite3")
    database.write_bytes(b"garbage" * 1000)
    other = SqliteIndex(tmp_path / "index")
    with pytest.raises(StoreFailed):
        await found(other, "ann", "pump")
    await other.close()


async def test_more_owners_than_are_kept_open_take_turns(index: SqliteIndex) -> None:
    owners = [f"owner-{number}" for number in range(OPEN_OWNERS_MAX + 10)]
    for owner in owners:
        await put(index, owner, entry("u1", owner))
    results = await asyncio.gather(*(found(index, owner, owner) for owner in owners))
    assert results == [[("u1", owner)] for owner in owners]


def test_only_the_rows_of_the_ranges_are_compared(tmp_path: Path) -> None:
    rows = np.eye(6, dtype=np.float32)
    write_rows(tmp_path / "v", 0, rows[:4])
    write_rows(tmp_path / "v", 4, rows[4:])
    file = VectorFile(tmp_path / "v", 6, 6)
    assert file.nearest(rows[4], [Range(0, 2), Range(4, 2)], 3) == [4, 0, 1]
    assert file.nearest(rows[3], [Range(0, 2), Range(4, 2)], 9) == [0, 1, 4, 5]
    assert file.nearest(rows[3], [], 9) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20))
def test_merged_ranges_hold_the_same_slots(gaps: list[tuple[int, int]]) -> None:
    ranges, place = [], 0
    for gap, count in gaps:
        ranges.append(Range(place + gap, count))
        place += gap + count
    spans = merged(ranges[::-1])
    slots = [slot for one in spans for slot in range(one.first, one.end)]
    assert slots == [slot for one in ranges for slot in range(one.first, one.end)]
    assert all(after.first > before.end for before, after in pairwise(spans))
