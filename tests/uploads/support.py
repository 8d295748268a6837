"""Uploads over real stores in a folder of the test."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from uploads.drafts import Drafts
from uploads.files import Disk, make_folder
from uploads.intake import Stores
from uploads.limits import UploadLimits
from uploads.parts import Parts
from uploads.stores.database import Database, open_database, sqlite_url
from uploads.stores.disk import DiskBlobs
from uploads.stores.records import SqlUploadStore
from uploads.uploads import Uploads

OWNER = "me"
DEADLINE_S = 60.0
FOLDERS = ("drafts", "blobs", "lent", "parts")


async def pieces(content: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]
        await asyncio.sleep(0)


@asynccontextmanager
async def opened(folder: Path, url: str = "", limits: UploadLimits | None = None) -> AsyncIterator[Uploads]:
    """As the service opens them, but for the sweeps."""
    database = await open_database(url or sqlite_url(folder / "headwater.db"))
    with ThreadPoolExecutor(4) as executor:
        try:
            stores = stores_in(folder, database, executor, limits or UploadLimits())
            yield Uploads(stores, Parts(stores, folder / "parts"))
        finally:
            await database.close()


def stores_in(folder: Path, database: Database, executor: ThreadPoolExecutor, limits: UploadLimits) -> Stores:
    for name in FOLDERS:
        make_folder(folder / name)
    drafts = Drafts(folder / "drafts", Disk(executor, reserve_bytes=0))
    return Stores(SqlUploadStore(database), DiskBlobs(folder / "blobs", folder / "lent", drafts.disk), drafts, limits)


def files_in(folder: Path, *names: str) -> list[Path]:
    return [path for name in names or FOLDERS for path in sorted((folder / name).iterdir())]


async def gathered(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in stream])


def contents(uploads: Iterable[Path]) -> list[bytes]:
    return [path.read_bytes() for path in uploads]
