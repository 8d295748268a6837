"""How quickly a running service notices what was changed beside it, and what it does without its database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from starlette.datastructures import Headers

from service.access.access import Access
from service.access.errors import AccessUnavailable, CredentialExpired, CredentialInvalid
from service.access.keys import ApiKey, mint
from service.access.principal import DEFAULT_SCOPES
from service.access.ring import Ring
from service.access.settings import AccessSettings
from service.access.tokens import Tokens
from service.access.users import User
from uploads.errors import StoreUnavailable

STALE_S = 30.0


@dataclass
class MemoryStore:
    """Counts what it is asked, and can be out of reach."""

    kept: dict[str, ApiKey] = field(default_factory=dict)
    number: int = 0
    reads: int = 0
    is_down: bool = False
    touched: dict[str, float] = field(default_factory=dict)

    async def version(self) -> int:
        self._answer()
        return self.number

    async def keys(self) -> Sequence[ApiKey]:
        self._answer()
        self.reads += 1
        return list(self.kept.values())

    async def users(self) -> Sequence[User]:
        return []

    async def touch(self, used_at: Mapping[str, float]) -> None:
        self._answer()
        self.touched.update(used_at)

    async def add_key(self, key: ApiKey) -> None:
        self.kept[key.id] = key
        self.number += 1

    async def revoke_key(self, key_id: str, now: float) -> ApiKey | None:
        await self.add_key(replace(self.kept[key_id], revoked_at=now))
        return self.kept[key_id]

    async def put_user(self, user: User) -> bool:
        raise NotImplementedError

    async def remove_user(self, name: str) -> bool:
        raise NotImplementedError

    def _answer(self) -> None:
        if self.is_down:
            raise StoreUnavailable("down")


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    store: MemoryStore = field(default_factory=MemoryStore)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        settings = AccessSettings()
        self.ring = Ring(self.store, STALE_S, self.clock, self.clock)
        self.access = Access(settings, self.ring, Tokens(settings, {}), is_local=True, wall_clock=self.clock)

    def who(self, text: str) -> str:
        return self.access.identify(Headers({"x-api-key": text})).id


async def test_before_the_first_look_nobody_gets_in() -> None:
    bench = Bench()
    assert not bench.access.is_open
    with pytest.raises(AccessUnavailable):
        bench.who(mint("ann", DEFAULT_SCOPES)[0])


async def test_the_first_key_closes_a_running_service_and_nothing_opens_it_again() -> None:
    bench = Bench()
    await bench.ring.refresh()
    assert bench.access.is_open
    assert bench.who("anything") == "anonymous"
    text, key = mint("ann", DEFAULT_SCOPES)
    await bench.store.add_key(key)
    await bench.ring.refresh()
    assert not bench.access.is_open
    assert bench.who(text) == "ann"
    bench.store.kept.clear()
    bench.store.number += 1
    await bench.ring.refresh()
    assert not bench.access.is_open


async def test_a_revoked_key_is_refused_after_the_next_look() -> None:
    bench = Bench()
    text, key = mint("ann", DEFAULT_SCOPES)
    await bench.store.add_key(key)
    await bench.ring.refresh()
    assert bench.who(text) == "ann"
    await bench.store.revoke_key(key.id, 5.0)
    await bench.ring.refresh()
    with pytest.raises(CredentialInvalid):
        bench.who(text)


async def test_a_key_expires_without_a_look() -> None:
    bench = Bench()
    text, key = mint("ann", DEFAULT_SCOPES, expires_at=bench.clock.now + 10)
    await bench.store.add_key(key)
    await bench.ring.refresh()
    bench.clock.now += 9
    assert bench.who(text) == "ann"
    bench.clock.now += 1
    with pytest.raises(CredentialExpired):
        bench.who(text)


async def test_made_up_keys_cause_no_work_in_the_database() -> None:
    bench = Bench()
    await bench.store.add_key(mint("ann", DEFAULT_SCOPES)[1])
    for _ in range(5):
        await bench.ring.refresh()
    reads = bench.store.reads
    for _ in range(100):
        with pytest.raises(CredentialInvalid):
            bench.who(mint("bob", DEFAULT_SCOPES)[0])
    assert reads == bench.store.reads == 1


async def test_without_its_database_keys_are_believed_for_a_while_and_then_refused() -> None:
    bench = Bench()
    text, key = mint("ann", DEFAULT_SCOPES)
    await bench.store.add_key(key)
    await bench.ring.refresh()
    bench.store.is_down = True
    with pytest.raises(StoreUnavailable):
        await bench.ring.refresh()
    bench.clock.now += STALE_S
    assert bench.who(text) == "ann"
    bench.clock.now += 0.1
    with pytest.raises(AccessUnavailable):
        bench.who(text)
    bench.store.is_down = False
    await bench.ring.refresh()
    assert bench.who(text) == "ann"


async def test_the_last_use_is_written_later_and_not_lost_with_the_database() -> None:
    bench = Bench()
    text, key = mint("ann", DEFAULT_SCOPES)
    await bench.store.add_key(key)
    await bench.ring.refresh()
    bench.who(text)
    bench.store.is_down = True
    await bench.ring.write_uses()
    assert bench.store.touched == {}
    bench.store.is_down = False
    bench.clock.now += 5
    bench.who(text)
    await bench.ring.write_uses()
    assert bench.store.touched == {key.id: bench.clock.now}
