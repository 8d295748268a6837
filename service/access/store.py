"""What access control keeps, and what it asks of whoever keeps it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from service.access.keys import ApiKey
from service.access.users import User


class AccessStore(Protocol):
    """Durable when a call returns. Any number of processes may use it at the same time.

    1. `version` is 0 as long as there has never been a key or a user, and grows with every change that decides who may
       do what. It never falls, whatever is removed: a service that was closed once does not open by itself.
    2. `keys` and `users` are in the order of their making and of their names. Revoked keys stay among them.
    3. `touch` notes uses; it changes no version, and a use that is older than the one noted changes nothing.

    No other words than `StoreUnavailable` and `StoreFull` for what goes wrong.
    """

    async def version(self) -> int: ...

    async def add_key(self, key: ApiKey) -> None: ...

    async def keys(self) -> Sequence[ApiKey]: ...

    async def revoke_key(self, key_id: str, now: float) -> ApiKey | None:
        """The key as it is then; None when there is none. Doing it twice leaves the first time."""

    async def touch(self, used_at: Mapping[str, float]) -> None: ...

    async def put_user(self, user: User) -> bool:
        """Adds it, or replaces the one of its name. True when it is new."""

    async def users(self) -> Sequence[User]: ...

    async def remove_user(self, name: str) -> bool:
        """False when there is none."""
