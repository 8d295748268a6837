"""Blobs as objects in any store that speaks S3.

A blob that nobody knows is removed once it is old: whoever put it there has either stored its row since, or died. What
a process that died had begun to send in parts is invisible here; the bucket's own rule for incomplete uploads removes
it.
"""

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from uploads.blobs import READ_BYTES, Known
from uploads.drafts import Drafts
from uploads.errors import ContentUnavailable, StoreFailed, StoreUnavailable, UploadsError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

PART_BYTES = 8 * 1024 * 1024
PARTS_AT_ONCE = 4
STALE_AFTER_S = 24 * 3600.0
SWEEP_BATCH = 500
CONNECT_TIMEOUT = timedelta(seconds=10)
SILENCE_TIMEOUT = timedelta(seconds=30)
REQUEST_TIMEOUT = timedelta(hours=6)  # for the whole of a large file to a slow reader; silence ends it sooner
RETRIES: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
_log = logging.getLogger("headwater.uploads")


def open_s3(url: str, endpoint: str = "") -> S3Store:
    """`url` names bucket and prefix. Everything else comes from the usual AWS_… variables."""
    options: ClientConfig = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": CONNECT_TIMEOUT,
        "read_timeout": SILENCE_TIMEOUT,
        "timeout": REQUEST_TIMEOUT,
    }
    config: S3Config = {"endpoint": endpoint} if endpoint else {}
    return S3Store.from_url(url, config=config, client_options=options, retry_config=RETRIES)


class S3Blobs:
    def __init__(self, store: S3Store, drafts: Drafts, stale_after_s: float = STALE_AFTER_S) -> None:
        self._store = store
        self._drafts = drafts
        self._stale_after_s = stale_after_s

    async def keep(self, path: Path, name: str) -> None:
        """Large files go in parts, and are there at once when the last has come."""
        with translated():
            await obstore.put_async(self._store, name, path, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)

    async def read(self, name: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        with translated(ContentUnavailable):
            if (await obstore.head_async(self._store, name))["size"] < stop:
                raise ContentUnavailable("The file's content is not whole any more.")
            if start == stop:
                return
            found = await obstore.get_async(self._store, name, options={"range": (start, stop)})
            async for chunk in found.stream(min_chunk_size=READ_BYTES):
                for place in range(0, len(chunk), READ_BYTES):
                    yield bytes(chunk[place : place + READ_BYTES])

    @asynccontextmanager
    async def open(self, name: str) -> AsyncIterator[Path]:
        """A copy on the local disk."""
        with translated(ContentUnavailable):
            size = (await obstore.head_async(self._store, name))["size"]
        draft = await self._drafts.open()
        try:
            async with aclosing(self.read(name, 0, size)) as pieces:
                async for piece in pieces:
                    await draft.write(piece)
            yield draft.path
        finally:
            await draft.close()

    async def remove(self, name: str) -> None:
        with translated():
            await obstore.delete_async(self._store, name)

    async def sweep(self, known: Known) -> int:
        removed = 0
        with translated():
            async for batch in obstore.list(self._store, chunk_size=SWEEP_BATCH):
                latest = time.time() - self._stale_after_s
                old = [one["path"] for one in batch if one["last_modified"].timestamp() <= latest]
                for name in set(old) - await known(old):
                    await obstore.delete_async(self._store, name)
                    removed += 1
        return removed

    async def close(self) -> None:
        """Nothing is open between calls."""


@contextmanager
def translated(missing: type[UploadsError] = StoreFailed) -> Iterator[None]:
    """The store's words, which name buckets and addresses, go into the log only."""
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        _log.error("the object store does not have it: %s", first_line(error))
        raise missing("The file's content cannot be reached.") from error
    except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
        _log.error("the object store refuses: %s", first_line(error))
        raise StoreFailed("The object store refuses the service.") from error
    except (BaseError, OSError) as error:
        _log.warning("the object store failed: %s", first_line(error))
        raise StoreUnavailable("The object store does not answer; try again.") from error


def first_line(error: Exception) -> str:
    """The rest is the library's own view of itself, over many lines."""
    return str(error).partition("\n")[0]
