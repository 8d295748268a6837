"""Opens access control at the start of the service, and refuses a start that would leave it to everybody."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from service.access.access import Access
from service.access.ring import Ring
from service.access.rotation import Rotation
from service.access.store import AccessStore
from service.access.tokens import InvalidJwks, Tokens, read_jwks
from service.hosts import is_loopback
from service.settings import Settings


class CannotOpen(Exception):
    """The service does not start like this; one line for the operator."""


@asynccontextmanager
async def open_access(
    settings: Settings, store: AccessStore, on_hangup: Callable[[Callable[[], None]], None] = lambda _: None
) -> AsyncIterator[Access]:
    """`on_hangup` takes what is to be called at each SIGHUP. Raises `CannotOpen`."""
    given = settings.access
    try:
        public_keys = {} if given.jwks_file is None else await asyncio.to_thread(read_jwks, given.jwks_file)
    except InvalidJwks as error:
        raise CannotOpen(str(error)) from error
    ring = Ring(store, given.stale_s)
    await ring.refresh()
    access = Access(given, ring, Tokens(given, public_keys), is_local=is_loopback(settings.host))
    refuse_open_network(settings, has_keys=ring.has_ever_had_any)
    tasks = [
        asyncio.create_task(ring.refresh_forever(given.refresh_s)),
        asyncio.create_task(ring.write_uses_forever(given.use_interval_s)),
    ]
    if given.jwks_file is not None:
        rotation = Rotation(given.jwks_file, access)
        on_hangup(rotation.read_soon)
        tasks.append(asyncio.create_task(rotation.read_forever()))
    try:
        yield access
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await ring.write_uses()
        access.passwords.close()


def is_open_network(settings: Settings) -> bool:
    """Whether a service with these settings and without a key would answer every other machine."""
    return not (is_loopback(settings.host) or settings.allow_anonymous_network or settings.access.closes)


def refuse_open_network(settings: Settings, *, has_keys: bool) -> None:
    """Raises `CannotOpen`."""
    if is_open_network(settings) and not has_keys:
        raise CannotOpen(
            f"host {settings.host} can be reached from other machines and nothing asks callers who they are: make a "
            "key with `headwater keys create NAME`, or listen on 127.0.0.1, or set "
            "HEADWATER_ALLOW_ANONYMOUS_NETWORK=true to let anyone use the service"
        )
