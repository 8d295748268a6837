"""The database beside a running service, for commands: what goes wrong there is one line and an exit code."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from service.commands.failing import FAILED, fail

if TYPE_CHECKING:
    from service.access.store import AccessStore
    from service.settings import Settings


@asynccontextmanager
async def access_store(settings: "Settings") -> "AsyncIterator[AccessStore]":
    from service.storage import StorageUnusable, open_access_store
    from uploads.errors import UploadsError

    try:
        async with open_access_store(settings) as store:
            yield store
    except (StorageUnusable, UploadsError) as error:
        fail(str(error), FAILED)
