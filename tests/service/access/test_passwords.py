"""Passwords are checked a few at a time, and never more cheaply for a name that is not there."""

import asyncio
from collections.abc import Iterator

import pytest

from service.access.errors import LoginsBusy
from service.access.passwords import HASHED_AT_ONCE, WAITING_MAX, Passwords, fault_of, hash_password

PASSWORD = "correct horse battery"


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords()
    yield made
    made.close()


async def test_a_password_is_right_or_wrong(passwords: Passwords) -> None:
    kept = hash_password(PASSWORD)
    assert kept.startswith("$argon2id$")
    assert kept != hash_password(PASSWORD)
    assert await passwords.is_right(PASSWORD, kept)
    assert not await passwords.is_right(PASSWORD + " ", kept)
    assert not await passwords.is_right(PASSWORD, "$argon2id$broken")


async def test_a_name_that_is_not_there_is_checked_like_another_and_never_right(passwords: Passwords) -> None:
    checked: list[str] = []

    class Watched(Passwords):
        def _verify(self, password: str, password_hash: str | None) -> bool:
            is_right = super()._verify(password, password_hash)
            checked.append(self._nobodys or "")
            return is_right

    watched = Watched()
    try:
        assert not await watched.is_right(PASSWORD, None)
        assert checked[0].startswith("$argon2id$")
        assert checked[0].split("$")[3] == hash_password(PASSWORD).split("$")[3]  # memory, time, lanes
    finally:
        watched.close()


async def test_a_crowd_is_told_to_come_back(passwords: Passwords) -> None:
    kept = hash_password(PASSWORD)
    room = HASHED_AT_ONCE + WAITING_MAX
    asked = [asyncio.ensure_future(passwords.is_right(PASSWORD, kept)) for _ in range(room)]
    await asyncio.sleep(0)
    with pytest.raises(LoginsBusy):
        await passwords.is_right(PASSWORD, kept)
    for one in asked[2:]:
        one.cancel()
    done = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)
    assert done[:2] == [True, True]
    assert await passwords.is_right(PASSWORD, kept)


@pytest.mark.parametrize(("password", "is_taken"), [("1234567", False), ("12345678", True), ("é" * 513, False)])
def test_a_password_has_bounds(password: str, is_taken: bool) -> None:
    assert (fault_of(password) is None) == is_taken
