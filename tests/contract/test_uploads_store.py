"""The promises of `uploads.records.UploadStore`, proved on SQLite and on a real PostgreSQL server."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from uploads.errors import OffsetMismatch, QuotaExceeded, StoreFull, UnknownPart
from uploads.records import Cursor, MissingBlob, Part, Quota, Upload, UploadStore, new_part_id, new_upload_id
from uploads.stores.database import open_database
from uploads.stores.records import SqlUploadStore

ROOMY = Quota(1000, 10**12, 10**12)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[UploadStore]:
    database = await open_database(database_url)
    yield SqlUploadStore(database)
    await database.close()


def upload(content: str = "a", owner: str = "me", **fields: object) -> Upload:
    made = Upload(new_upload_id(), owner, "Käse 🧀.txt", 10, f"sha-{content}", "text/plain", 1000.5, "")
    return replace(made, **fields)  # type: ignore[arg-type]  # the test's own names


def part(owner: str = "me", **fields: object) -> Part:
    return replace(Part(new_part_id(), owner, "", 10, 0, 1000.0, 2000.0), **fields)  # type: ignore[arg-type]  # as above


async def add(store: UploadStore, *uploads: Upload, quota: Quota = ROOMY, part_id: str | None = None) -> list[Upload]:
    return await store.add(uploads, {one.sha256: f"blob-{one.id}" for one in uploads}, quota, part_id)


async def test_an_upload_is_found_as_it_was_added(store: UploadStore) -> None:
    (added,) = await add(store, upload())
    assert added.blob == f"blob-{added.id}"
    assert await store.find(added.id, "me") == added
    assert await store.find(added.id, "somebody") is None
    assert await store.stored([added.sha256, "sha-x"]) == {added.sha256}
    assert await store.known_blobs([added.blob, "blob-x"]) == {added.blob}


async def test_the_same_content_gets_the_blob_that_is_there(store: UploadStore) -> None:
    (first,) = await add(store, upload())
    second, third = await store.add([upload(owner="b"), upload(owner="b")], {}, ROOMY)
    assert first.blob == second.blob == third.blob
    removed = [await store.remove(one.id, one.owner) for one in (first, second, third)]
    assert [one.unused_blob for one in removed if one] == [None, None, first.blob]
    assert await store.known_blobs([first.blob]) == set()


async def test_content_that_nobody_brings_is_missed_and_nothing_is_added(store: UploadStore) -> None:
    known, unknown = upload("a"), upload("b")
    with pytest.raises(MissingBlob):
        await store.add([known, unknown], {known.sha256: "blob-a"}, ROOMY)
    assert await store.find(known.id, "me") is None
    assert await store.known_blobs(["blob-a"]) == set()


async def test_only_the_owner_removes_and_only_once(store: UploadStore) -> None:
    (added,) = await add(store, upload())
    assert await store.remove(added.id, "somebody") is None
    assert await store.remove(added.id, "me") is not None
    assert await store.remove(added.id, "me") is None


async def test_a_page_is_the_newest_after_a_place(store: UploadStore) -> None:
    same_time = [upload(str(number), created_at=1000.25) for number in range(3)]
    added = await add(store, *same_time, upload("x", created_at=999.0), upload("y", created_at=1001.0))
    await add(store, upload("z", owner="somebody"))
    expected = sorted(added, key=lambda one: (one.created_at, one.id), reverse=True)
    assert await store.page("me", None, 10) == expected
    found: list[Upload] = []
    while page := await store.page("me", Cursor(found[-1].created_at, found[-1].id) if found else None, 2):
        found += page
    assert found == expected


async def test_usage_follows_what_is_added_and_removed(store: UploadStore) -> None:
    (first,) = await add(store, upload())
    await add(store, upload(), upload("b", size=5))
    await store.add_part(part(length=100), ROOMY)
    await store.add_part(part(length=None, received=7), ROOMY)
    await add(store, upload("c", owner="somebody"))
    usage = await store.usage("me")
    assert (usage.owner_files, usage.owner_bytes, usage.total_bytes) == (5, 10 + 10 + 5 + 107, 10 + 5 + 10 + 107)
    await store.remove(first.id, "me")
    assert (await store.usage("me")).owner_bytes == 10 + 5 + 107
    assert (await store.usage("nobody")).owner_files == 0


@pytest.mark.parametrize(
    ("quota", "refusal"),
    [(Quota(2, 10**9, 10**9), QuotaExceeded), (Quota(9, 29, 10**9), QuotaExceeded), (Quota(9, 99, 29), StoreFull)],
)
async def test_over_a_quota_nothing_is_added(store: UploadStore, quota: Quota, refusal: type[Exception]) -> None:
    await add(store, upload("a"), upload("b"), quota=quota)
    with pytest.raises(refusal):
        await add(store, upload("c"), quota=quota)
    with pytest.raises(refusal):
        await store.add_part(part(), quota)
    assert (await store.usage("me")).owner_files == 2


async def test_parallel_adds_never_go_over_a_quota(store: UploadStore) -> None:
    quota = Quota(5, 10**9, 10**9)
    tries = await asyncio.gather(*(add(store, upload(str(n)), quota=quota) for n in range(12)), return_exceptions=True)
    assert sum(isinstance(one, list) for one in tries) == 5
    assert all(isinstance(one, QuotaExceeded) for one in tries if not isinstance(one, list))


async def test_adding_and_removing_one_content_at_once_keeps_its_blob_while_it_is_used(store: UploadStore) -> None:
    async def once(number: int) -> None:
        for _ in range(5):
            (added,) = await add(store, upload(owner=f"o{number}"))
            assert await store.known_blobs([added.blob]) == {added.blob}
            assert await store.remove(added.id, added.owner) is not None

    await asyncio.gather(*(once(number) for number in range(8)))
    assert await store.stored(["sha-a"]) == set()
    assert (await store.usage("o1")).total_bytes == 0


async def test_a_part_moves_only_from_where_it_is(store: UploadStore) -> None:
    first = part()
    await store.add_part(first, ROOMY)
    assert await store.find_part(first.id, "somebody") is None
    moved = replace(first, received=5, expires_at=3000.0)
    await store.move_part(first, moved)
    assert await store.find_part(first.id, "me") == moved
    with pytest.raises(OffsetMismatch):
        await store.move_part(first, replace(first, received=6))
    assert await store.find_part(first.id, "me") == moved


async def test_a_part_becomes_one_upload_once(store: UploadStore) -> None:
    whole = part(received=10)
    await store.add_part(whole, ROOMY)
    assert await store.known_parts([whole.id]) == {whole.id}
    (added,) = await add(store, upload(), part_id=whole.id)
    found = await store.find_part(whole.id, "me")
    assert found is not None
    assert found.upload_id == added.id
    assert await store.known_parts([whole.id]) == set()
    assert (await store.usage("me")).owner_bytes == 10
    with pytest.raises(UnknownPart):
        await add(store, upload("b"), part_id=whole.id)
    assert await store.stored(["sha-b"]) == set()


async def test_expired_parts_are_found_and_removed(store: UploadStore) -> None:
    old, older, young = part(expires_at=20.0), part(expires_at=10.0), part(expires_at=30.0)
    for one in (old, older, young):
        await store.add_part(one, ROOMY)
    assert await store.expired_parts(25.0, 10) == [older, old]
    assert await store.expired_parts(25.0, 1) == [older]
    assert await store.remove_part(old.id, "somebody") is None
    assert await store.remove_part(old.id, "me") == old
    assert await store.remove_part(old.id, "me") is None
