"""Uploads are kept whole or not at all, and the same content once."""

import asyncio
import hashlib
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.uploads.support import OWNER, files_in, gathered, opened, pieces
from uploads.errors import FileTooLarge, QuotaExceeded, StoreFull, TooManyFiles, TooManyUploads, UnknownUpload
from uploads.limits import UploadLimits
from uploads.records import Cursor, Upload
from uploads.uploads import Uploads

CONTENT = bytes(range(256)) * 10_000


async def kept(uploads: Uploads, content: bytes = CONTENT, filename: str = "a.bin", owner: str = OWNER) -> Upload:
    return await uploads.keep(pieces(content), filename=filename, owner=owner)


async def broken(content: bytes) -> AsyncIterator[bytes]:
    yield content
    raise ConnectionResetError


@pytest.mark.parametrize("size", [0, 1, 10_000, 512 * 1024, 512 * 1024 + 1, 3_000_000])
async def test_an_upload_comes_back_as_it_was(tmp_path: Path, size: int) -> None:
    content = (CONTENT * 2)[:size]
    async with opened(tmp_path) as uploads:
        upload = await kept(uploads, content, "../x/notes.md")
        assert (upload.filename, upload.size, upload.owner) == ("notes.md", size, OWNER)
        assert upload.sha256 == hashlib.sha256(content).hexdigest()
        assert await uploads.find(upload.id, OWNER) == upload
        assert await gathered(uploads.read(upload)) == content
        assert await gathered(uploads.read(upload, size // 3, size // 2)) == content[size // 3 : size // 2]
        async with uploads.local_path(upload) as path:
            assert path.read_bytes() == content
        assert not files_in(tmp_path, "drafts", "lent")


async def test_files_are_private_and_named_by_the_service(tmp_path: Path) -> None:
    async with opened(tmp_path) as uploads:
        await kept(uploads, filename="secret-name")
    (blob,) = files_in(tmp_path)
    assert stat.S_IMODE(blob.stat().st_mode) == 0o600
    assert stat.S_IMODE(blob.parent.stat().st_mode) == 0o700
    assert "secret" not in blob.name
    assert len(blob.name) == 32


async def test_the_same_content_is_stored_once_and_goes_with_its_last_upload(tmp_path: Path) -> None:
    async with opened(tmp_path) as uploads:
        first, second = await kept(uploads), await kept(uploads, filename="b.bin", owner="somebody")
        assert first.id != second.id
        assert len(files_in(tmp_path)) == 1
        await uploads.delete(first.id, OWNER)
        assert await gathered(uploads.read(second)) == CONTENT
        await uploads.delete(second.id, "somebody")
        assert not files_in(tmp_path)


async def test_several_files_are_kept_together_or_not_at_all(tmp_path: Path) -> None:
    async with opened(tmp_path) as uploads:
        async with uploads.intake(OWNER) as intake:
            await intake.add(pieces(CONTENT), "a")
            with pytest.raises(ConnectionResetError):
                await intake.add(broken(CONTENT), "b")
            assert len(files_in(tmp_path)) == 2
        assert not files_in(tmp_path)
        async with uploads.intake(OWNER) as intake:
            for number in range(3):
                await intake.add(pieces(CONTENT[number // 2 :]), str(number))
            stored = await intake.commit()
        assert [upload.filename for upload in stored] == ["0", "1", "2"]
        assert len(files_in(tmp_path)) == 2
        assert len(await uploads.page(OWNER, None, 10)) == 3


async def test_a_task_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as uploads:
        received = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield CONTENT
                received.set()

        task = asyncio.create_task(uploads.keep(endless(), filename="a", owner=OWNER))
        await received.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not files_in(tmp_path)


async def test_an_upload_is_its_owners_only(tmp_path: Path) -> None:
    async with opened(tmp_path) as uploads:
        upload = await kept(uploads)
        for upload_id, owner in ((upload.id, "somebody"), ("u" + "0" * 32, OWNER), ("nonsense\x00", OWNER)):
            with pytest.raises(UnknownUpload):
                await uploads.find(upload_id, owner)
            with pytest.raises(UnknownUpload):
                await uploads.delete(upload_id, owner)
        assert await uploads.page("somebody", None, 10) == []


async def test_pages_go_through_all_uploads_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as uploads:
        stored = [await kept(uploads, str(number).encode()) for number in range(7)]
        found: list[Upload] = []
        while page := await uploads.page(OWNER, Cursor(found[-1].created_at, found[-1].id) if found else None, 3):
            found.extend(page)
            await uploads.delete(page[-1].id, OWNER)
        assert {upload.id for upload in found} == {upload.id for upload in stored}
        assert [upload.created_at for upload in found] == sorted((one.created_at for one in stored), reverse=True)


@pytest.mark.parametrize(
    ("limits", "refusal"),
    [
        (UploadLimits(max_file_bytes=len(CONTENT) - 1), FileTooLarge),
        (UploadLimits(max_owner_bytes=len(CONTENT) - 1), QuotaExceeded),
        (UploadLimits(max_total_bytes=len(CONTENT) - 1), StoreFull),
    ],
)
async def test_one_byte_too_much_is_refused_and_leaves_nothing(
    tmp_path: Path, limits: UploadLimits, refusal: type[Exception]
) -> None:
    async with opened(tmp_path, limits=limits) as uploads:
        with pytest.raises(refusal):
            await kept(uploads)
        assert not files_in(tmp_path)
        await kept(uploads, CONTENT[:-1])
        assert len(files_in(tmp_path)) == 1


async def test_what_is_declared_too_large_is_not_read(tmp_path: Path) -> None:
    async def untouched() -> AsyncIterator[bytes]:
        pytest.fail("it was read")
        yield b""

    async with opened(tmp_path, limits=UploadLimits(max_file_bytes=10)) as uploads, uploads.intake(OWNER) as intake:
        with pytest.raises(FileTooLarge):
            await intake.add(untouched(), "a", declared_bytes=11)


async def test_the_numbers_of_files_are_limited(tmp_path: Path) -> None:
    limits = UploadLimits(max_files_per_request=2, max_owner_files=3)
    async with opened(tmp_path, limits=limits) as uploads:
        async with uploads.intake(OWNER) as intake:
            await intake.add(pieces(b"a"), "a")
            await intake.add(pieces(b"b"), "b")
            with pytest.raises(TooManyFiles):
                await intake.add(pieces(b"c"), "c")
            await intake.commit()
        await kept(uploads)
        with pytest.raises(QuotaExceeded):
            await kept(uploads)
        await kept(uploads, owner="somebody")


async def test_parallel_uploads_do_not_go_over_the_quota_together(tmp_path: Path, database_url: str) -> None:
    limits = UploadLimits(max_owner_bytes=3 * len(CONTENT))
    async with opened(tmp_path, database_url, limits) as uploads:
        tries = await asyncio.gather(
            *(kept(uploads, CONTENT[1:] + bytes([n])) for n in range(8)), return_exceptions=True
        )
        stored = [one for one in tries if isinstance(one, Upload)]
        assert all(isinstance(one, QuotaExceeded) for one in tries if not isinstance(one, Upload))
        assert len(stored) <= 3
        assert len(files_in(tmp_path)) == len(stored)
        for upload in stored:
            await uploads.delete(upload.id, OWNER)
        await kept(uploads)


async def test_only_so_many_are_received_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path, limits=UploadLimits(max_running=1)) as uploads:
        async with uploads.intake(OWNER):
            with pytest.raises(TooManyUploads):
                await kept(uploads)
        await kept(uploads)


async def test_keeping_and_deleting_the_same_content_at_once_loses_nothing(tmp_path: Path, database_url: str) -> None:
    """Forty tasks add and delete one content: what was kept can be read, and in the end no bytes are left."""
    async with opened(tmp_path, database_url) as uploads:

        async def keep_and_delete(number: int) -> None:
            for _ in range(5):
                upload = await kept(uploads, b"same", owner=f"owner-{number % 3}")
                assert await gathered(uploads.read(upload)) == b"same"
                await uploads.delete(upload.id, upload.owner)

        await asyncio.gather(*(keep_and_delete(number) for number in range(8)))
        assert not files_in(tmp_path)


async def test_a_lent_file_outlives_its_upload(tmp_path: Path) -> None:
    async with opened(tmp_path) as uploads:
        upload = await kept(uploads)
        async with uploads.local_path(upload) as path:
            await uploads.delete(upload.id, OWNER)
            await uploads.sweep()
            assert path.read_bytes() == CONTENT
        assert not files_in(tmp_path)


async def test_a_sweep_removes_what_nobody_holds_and_nothing_else(tmp_path: Path) -> None:
    async with opened(tmp_path) as uploads:
        upload = await kept(uploads)
        for name in ("drafts", "blobs", "lent"):
            (tmp_path / name / ("0" * 32)).write_bytes(b"left behind")
        async with uploads.intake(OWNER) as intake:
            await intake.add(pieces(b"coming"), "b")
            assert await uploads.sweep() == 3
            (coming,) = await intake.commit()
        assert await uploads.sweep() == 0
        assert await gathered(uploads.read(upload)) == CONTENT
        assert await gathered(uploads.read(coming)) == b"coming"
