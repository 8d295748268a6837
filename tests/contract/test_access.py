"""The promises of `service.access.store.AccessStore`, proved on SQLite and on a real PostgreSQL server."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from service.access.database import SqlAccessStore
from service.access.keys import ApiKey, mint
from service.access.principal import SCOPES
from service.access.store import AccessStore
from service.access.users import User
from uploads.stores.database import open_database

ANN = User("ann", frozenset(("predict",)), "$argon2id$ann", 1000.5)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[AccessStore]:
    database = await open_database(database_url)
    yield SqlAccessStore(database)
    await database.close()


def key(name: str = "ann", **fields: object) -> ApiKey:
    return replace(mint(name, frozenset(SCOPES))[1], **fields)  # type: ignore[arg-type]  # the test's own names


async def test_a_key_is_found_as_it_was_added_oldest_first(store: AccessStore) -> None:
    first = key(created_at=1.25, expires_at=2.5, scopes=frozenset(("upload",)))
    second = key(created_at=3.0, scopes=frozenset())
    await store.add_key(second)
    await store.add_key(first)
    assert list(await store.keys()) == [first, second]


async def test_a_key_is_revoked_once_and_stays_known(store: AccessStore) -> None:
    one, other = key(), key()
    await store.add_key(one)
    await store.add_key(other)
    assert await store.revoke_key(one.id, 5.5) == replace(one, revoked_at=5.5)
    assert await store.revoke_key(one.id, 9.0) == replace(one, revoked_at=5.5)
    assert await store.revoke_key("0" * 16, 9.0) is None
    assert {found.id: found.revoked_at for found in await store.keys()} == {one.id: 5.5, other.id: None}


async def test_uses_are_noted_all_at_once_and_never_go_back(store: AccessStore) -> None:
    one, other = key(), key()
    await store.add_key(one)
    await store.add_key(other)
    version = await store.version()
    await store.touch({one.id: 7.0, other.id: 8.0, "0" * 16: 9.0})
    await store.touch({one.id: 6.0})
    await store.touch({})
    assert {found.id: found.last_used_at for found in await store.keys()} == {one.id: 7.0, other.id: 8.0}
    assert await store.version() == version


async def test_a_user_is_added_replaced_and_removed(store: AccessStore) -> None:
    changed = replace(ANN, password_hash="$argon2id$new", scopes=frozenset(("admin",)), changed_at=2000.0)
    assert await store.put_user(ANN)
    assert await store.put_user(replace(ANN, name="Bob"))
    assert not await store.put_user(changed)
    assert {user.name: user for user in await store.users()} == {"ann": changed, "Bob": replace(ANN, name="Bob")}
    assert await store.remove_user("ann")
    assert not await store.remove_user("ann")
    assert [user.name for user in await store.users()] == ["Bob"]


async def test_the_version_grows_with_every_change_and_never_falls(store: AccessStore) -> None:
    seen = [await store.version()]
    assert seen == [0]
    one = key()
    for change in (
        store.add_key(one),
        store.revoke_key(one.id, 1.0),
        store.put_user(ANN),
        store.put_user(ANN),
        store.remove_user("ann"),
    ):
        await change
        seen.append(await store.version())
    assert seen == sorted(set(seen))


async def test_changes_at_the_same_time_all_count(store: AccessStore) -> None:
    keys = [key() for _ in range(12)]
    await asyncio.gather(*(store.add_key(one) for one in keys), *(store.put_user(ANN) for _ in range(6)))
    assert {one.id for one in await store.keys()} == {one.id for one in keys}
    assert len(await store.users()) == 1
    assert await store.version() == 18


async def test_another_process_sees_every_change(store: AccessStore, database_url: str) -> None:
    one = key()
    await store.add_key(one)
    database = await open_database(database_url)
    try:
        other = SqlAccessStore(database)
        assert (await other.version(), list(await other.keys())) == (1, [one])
    finally:
        await database.close()


async def test_no_secret_is_kept(store: AccessStore) -> None:
    text, minted = mint("ann", frozenset(("predict",)))
    await store.add_key(minted)
    (kept,) = await store.keys()
    assert text.rpartition("_")[2] not in repr(kept)
    assert all(text[-43:] not in str(value) for value in (kept.digest, kept.id, kept.name))
    assert len(kept.digest) == 64
    assert kept.digest not in repr(kept)
