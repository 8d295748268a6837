"""A ticket is worth as much as what its holder showed: it ends when that does."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.datastructures import Headers

from service.access.access import Access
from service.access.keys import mint
from service.access.principal import DEFAULT_SCOPES
from service.access.ring import Ring
from service.access.store import AccessStore
from service.access.tokens import Tokens
from service.access.users import User
from service.settings import Settings
from service.storage import open_access_store
from tests.server import RunningServer, echo_settings, serving, wait_until
from tests.service.access.world import SECRET, own_token

WITHIN_S = 60.0
ANN = User("ann", DEFAULT_SCOPES, "$argon2id$of-no-password", round(time.time() - 1000, 3))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return echo_settings(data_dir=tmp_path, access={"refresh_s": 0.05, "jwt_secret": SECRET}, ticket_ttl_s=300)


@pytest.fixture
def running(settings: Settings) -> Iterator[RunningServer]:
    with serving(settings) as server:
        yield server


def change(settings: Settings, work: Callable[[AccessStore], Awaitable[object]]) -> None:
    async def done() -> None:
        async with open_access_store(settings) as store:
            await work(store)

    asyncio.run(done())


def ticket_url(running: RunningServer, credential: str) -> str:
    """Once the running service knows the credential."""
    made: list[httpx.Response] = []

    def is_made() -> bool:
        headers = {"Authorization": f"Bearer {credential}"}
        asked = {"prompt": "one two", "grace_s": 60}
        made.append(httpx.post(f"{running.url}/chat/streams", json=asked, headers=headers, timeout=WITHIN_S))
        return made[-1].status_code == 201

    wait_until(is_made, WITHIN_S, "the credential is known")
    return running.url + str(made[-1].json()["url"])


def status(url: str, last_event_id: str = "") -> int:
    return httpx.get(url, headers={"Last-Event-ID": last_event_id}, timeout=WITHIN_S).status_code


def test_a_ticket_ends_with_the_key_that_asked_for_it(running: RunningServer, settings: Settings) -> None:
    (text, key), (other_text, other) = mint("ann", DEFAULT_SCOPES), mint("ann", DEFAULT_SCOPES)
    change(settings, lambda store: store.add_key(key))
    change(settings, lambda store: store.add_key(other))
    url, other_url = ticket_url(running, text), ticket_url(running, other_text)
    stream_id = url.split("/")[-2]
    assert (status(url), status(other_url), status(url, f"{stream_id}.0")) == (200, 200, 200)

    change(settings, lambda store: store.revoke_key(key.id, 1.0))
    wait_until(lambda: status(url) == 401, WITHIN_S, "the ticket ends with its key")
    assert status(url, f"{stream_id}.0") == 401
    assert status(other_url) == 200


def test_a_ticket_ends_with_the_login_that_asked_for_it(running: RunningServer, settings: Settings) -> None:
    change(settings, lambda store: store.put_user(ANN))
    url = ticket_url(running, own_token())
    assert status(url) == 200
    changed = replace(ANN, changed_at=round(time.time(), 3))
    change(settings, lambda store: store.put_user(changed))
    wait_until(lambda: status(url) == 401, WITHIN_S, "the password was changed")


async def test_a_ticket_ends_when_its_key_expires(settings: Settings) -> None:
    now = [1000.0]
    text, key = mint("ann", DEFAULT_SCOPES, expires_at=1010.0)
    async with open_access_store(settings) as store:
        await store.add_key(key)
        ring = Ring(store, stale_s=3600)
        await ring.refresh()
    access = Access(settings.access, ring, Tokens(settings.access, {}), is_local=True, wall_clock=lambda: now[0])
    holder = access.identify(Headers({"X-API-Key": text}))
    assert access.still_knows(holder)
    now[0] = 1010.0
    assert not access.still_knows(holder)
