"""The keys and users as this process knows them: a copy of the store, at most `refresh_s` old.

Requests are judged by the copy, so they wait for no database, and whoever sends made-up keys causes no work there. One
task asks the store for its version and reads it again only when that has grown. When the database does not answer, the
copy is believed for `stale_s`.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from service.access.errors import AccessUnavailable
from service.access.keys import ApiKey
from service.access.store import AccessStore
from service.access.users import User
from uploads.errors import UploadsError

_log = logging.getLogger("headwater.access")


@dataclass(frozen=True, slots=True)
class Copy:
    version: int
    keys: Mapping[str, ApiKey]
    users: Mapping[str, User]


class Ring:
    """Used on one event loop. `clock` is for what lasts on this machine, `wall_clock` for when keys were used."""

    def __init__(
        self,
        store: AccessStore,
        stale_s: float,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._stale_s = stale_s
        self._clock = clock
        self._wall_clock = wall_clock
        self._copy = Copy(-1, {}, {})
        self._checked_at = float("-inf")
        self._used_at: dict[str, float] = {}

    @property
    def has_ever_had_any(self) -> bool:
        """A key or a user. True before the first look, and for ever after the first one."""
        return self._copy.version != 0

    def key(self, key_id: str) -> ApiKey | None:
        """Raises `AccessUnavailable`."""
        return self._believed().keys.get(key_id)

    def user(self, name: str) -> User | None:
        """Raises `AccessUnavailable`."""
        return self._believed().users.get(name)

    def note_use(self, key: ApiKey) -> None:
        self._used_at[key.id] = self._wall_clock()

    async def refresh(self) -> None:
        """Raises `StoreUnavailable`."""
        began = self._clock()
        version = await self._store.version()
        if version != self._copy.version:
            keys, users = await self._store.keys(), await self._store.users()
            self._copy = Copy(version, {key.id: key for key in keys}, {user.name: user for user in users})
        self._checked_at = began

    async def write_uses(self) -> None:
        """What cannot be written is tried again with the next ones."""
        used_at, self._used_at = self._used_at, {}
        try:
            await self._store.touch(used_at)
        except UploadsError as error:
            self._used_at = {**used_at, **self._used_at}
            _log.warning("the last uses of keys are not written down yet: %s", type(error).__name__)

    async def refresh_forever(self, interval_s: float) -> None:
        was_out_of_reach = False
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.refresh()
                was_out_of_reach = False
            except UploadsError as error:
                if not was_out_of_reach:
                    _log.warning("keys and users cannot be looked up: %s", type(error).__name__)
                was_out_of_reach = True

    async def write_uses_forever(self, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            await self.write_uses()

    def _believed(self) -> Copy:
        if self._clock() - self._checked_at > self._stale_s:
            raise AccessUnavailable
        return self._copy
