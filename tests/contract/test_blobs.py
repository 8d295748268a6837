"""The promises of `uploads.blobs.BlobStore`, proved for blobs on a disk and in a real S3 server."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path

import pytest

from tests.objects import ObjectServer
from uploads.blobs import READ_BYTES, BlobStore
from uploads.drafts import Drafts
from uploads.errors import ContentUnavailable
from uploads.files import Disk
from uploads.stores.disk import DiskBlobs
from uploads.stores.s3 import PART_BYTES, S3Blobs, open_s3

CONTENT = bytes(range(256)) * 3000
NAME = "a" * 32


@pytest.fixture
async def drafts(tmp_path: Path) -> AsyncIterator[Drafts]:
    with ThreadPoolExecutor(4) as executor:
        made = Drafts(tmp_path / "drafts", Disk(executor, reserve_bytes=0))
        await made.make()
        yield made


@pytest.fixture(params=["disk", "s3"])
async def blobs(request: pytest.FixtureRequest, drafts: Drafts, tmp_path: Path) -> BlobStore:
    if request.param == "disk":
        on_disk = DiskBlobs(tmp_path / "blobs", tmp_path / "lent", drafts.disk)
        await on_disk.make()
        return on_disk
    server: ObjectServer = request.getfixturevalue("objects")
    return S3Blobs(open_s3(f"{server.new_bucket()}/a/prefix", server.endpoint), drafts, stale_after_s=0)


async def keep(blobs: BlobStore, drafts: Drafts, content: bytes = CONTENT, name: str = NAME) -> None:
    draft = await drafts.open()
    await draft.write(content)
    await draft.end()
    await blobs.keep(draft.path, name)
    await draft.close()


async def read(blobs: BlobStore, start: int, stop: int, name: str = NAME) -> bytes:
    async with aclosing(blobs.read(name, start, stop)) as pieces:
        return b"".join([piece async for piece in pieces])


async def knows_nothing(_: Sequence[str]) -> set[str]:
    return set()


async def knows_all(names: Sequence[str]) -> set[str]:
    return set(names)


@pytest.mark.parametrize("content", [b"", b"x", CONTENT, os.urandom(PART_BYTES * 2 + 1)], ids=len)
async def test_what_is_kept_comes_back(blobs: BlobStore, drafts: Drafts, content: bytes) -> None:
    await keep(blobs, drafts, content)
    assert await read(blobs, 0, len(content)) == content


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 1), (5, 5), (len(CONTENT) - 1, len(CONTENT)), (1, READ_BYTES), (7, 2 * READ_BYTES + 9)]
)
async def test_any_range_is_read_in_bounded_pieces(blobs: BlobStore, drafts: Drafts, start: int, stop: int) -> None:
    await keep(blobs, drafts)
    async with aclosing(blobs.read(NAME, start, stop)) as stream:
        pieces = [piece async for piece in stream]
    assert b"".join(pieces) == CONTENT[start:stop]
    assert all(0 < len(piece) <= READ_BYTES for piece in pieces)


async def test_what_is_not_there_or_too_short_says_so(
    blobs: BlobStore, drafts: Drafts, caplog: pytest.LogCaptureFixture
) -> None:
    await keep(blobs, drafts, b"short")
    with caplog.at_level(logging.CRITICAL):
        for name, stop in ((NAME, 6), ("b" * 32, 1), ("b" * 32, 0)):
            with pytest.raises(ContentUnavailable):
                await read(blobs, 0, stop, name)
        with pytest.raises(ContentUnavailable):
            async with blobs.open("b" * 32):
                pytest.fail("it was opened")


async def test_a_program_gets_a_file_that_outlives_the_blob(blobs: BlobStore, drafts: Drafts) -> None:
    await keep(blobs, drafts)
    async with blobs.open(NAME) as path:
        await blobs.remove(NAME)
        await blobs.sweep(knows_nothing)
        assert path.read_bytes() == CONTENT
    assert not path.exists()


async def test_a_blob_can_be_removed_twice_and_kept_under_another_name(blobs: BlobStore, drafts: Drafts) -> None:
    await keep(blobs, drafts)
    await keep(blobs, drafts, name="b" * 32)
    for _ in range(2):
        await blobs.remove(NAME)
    with pytest.raises(ContentUnavailable):
        await read(blobs, 0, 1)
    assert await read(blobs, 0, len(CONTENT), "b" * 32) == CONTENT


async def test_a_reader_goes_on_while_the_blob_is_removed(blobs: BlobStore, drafts: Drafts) -> None:
    await keep(blobs, drafts)
    async with aclosing(blobs.read(NAME, 0, len(CONTENT))) as pieces:
        content = await anext(pieces)
        await blobs.remove(NAME)
        async for piece in pieces:
            content += piece
    assert content == CONTENT


async def test_a_sweep_takes_what_nobody_knows(blobs: BlobStore, drafts: Drafts) -> None:
    names = [f"{number:032x}" for number in range(12)]
    await asyncio.gather(*(keep(blobs, drafts, b"x", name) for name in names))
    assert await blobs.sweep(knows_all) == 0

    async def knows_some(asked: Sequence[str]) -> set[str]:
        return set(names[:5]) & set(asked)

    assert await blobs.sweep(knows_some) == 7
    assert [await read(blobs, 0, 1, name) for name in names[:5]] == [b"x"] * 5
    with pytest.raises(ContentUnavailable):
        await read(blobs, 0, 1, names[5])


async def test_a_sweep_spares_a_blob_that_is_about_to_be_known(blobs: BlobStore, drafts: Drafts) -> None:
    """On a disk its draft still holds it; in an object store it is young."""
    draft = await drafts.open()
    await draft.write(b"x")
    await draft.end()
    if isinstance(blobs, S3Blobs):
        blobs = S3Blobs(blobs._store, drafts)
    await blobs.keep(draft.path, NAME)
    assert await blobs.sweep(knows_nothing) == 0
    await draft.close()
    assert await read(blobs, 0, 1) == b"x"
