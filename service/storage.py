"""Opens the database, the store of contents and what stands on them. The only place that names concrete stores."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.access.store import AccessStore
from service.settings import Settings
from uploads.blobs import BlobStore
from uploads.drafts import Drafts
from uploads.errors import UploadsError
from uploads.files import Disk, make_folder
from uploads.index import Index
from uploads.intake import Stores
from uploads.jobs import JobStore
from uploads.limits import UploadLimits
from uploads.observer import UNOBSERVED, Observer
from uploads.parts import Parts
from uploads.stores.disk import DiskBlobs
from uploads.uploads import Uploads

if TYPE_CHECKING:
    from uploads.stores.database import Database

WORK_FOLDER = "jobs"  # what jobs have done so far, on the file system of their results
DATABASE_FILE = "headwater.db"


@dataclass(frozen=True, slots=True)
class Storage:
    database: "Database"
    uploads: Uploads
    jobs: JobStore
    results: BlobStore
    index: Index
    access: AccessStore


class StorageUnusable(Exception):
    """The service cannot start on it; one line for the operator."""


@asynccontextmanager
async def open_storage(settings: Settings, observer: Observer = UNOBSERVED) -> AsyncIterator[Storage]:
    """Raises `StorageUnusable`."""
    async with AsyncExitStack() as stack:
        with told():
            storage = await open_stores(settings, observer, stack)
        yield storage


@contextmanager
def told() -> Iterator[None]:
    from uploads.stores.database import InvalidDatabaseUrl  # noqa: PLC0415  SQLAlchemy is slow to import

    try:
        yield
    except (UploadsError, InvalidDatabaseUrl, OSError) as error:
        raise StorageUnusable(f"The storage cannot be opened: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """For the operator, who may know the path that clients are not told."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return f"{cause.filename}: {cause.strerror}" if isinstance(cause, OSError) and cause.filename else str(error)


async def open_stores(settings: Settings, observer: Observer, stack: AsyncExitStack) -> Storage:
    from service.access.database import SqlAccessStore  # noqa: PLC0415  SQLAlchemy is slow to import
    from uploads.stores.index import SqliteIndex  # noqa: PLC0415  numpy
    from uploads.stores.jobs import DatabaseJobStore  # noqa: PLC0415  SQLAlchemy is slow to import
    from uploads.stores.records import SqlUploadStore  # noqa: PLC0415

    drafts = await open_drafts(settings, stack)
    database = await open_database(settings, stack)
    blobs = await open_blobs(settings, drafts, "blobs")
    stores = Stores(SqlUploadStore(database), blobs, drafts, limits_of(settings), observer=observer)
    parts = Parts(stores, settings.data_dir / "parts")
    await parts.make()
    results = await open_blobs(settings, drafts, "results")
    await asyncio.to_thread(make_folder, settings.data_dir / WORK_FOLDER)
    index = SqliteIndex(settings.data_dir / "index")
    stack.push_async_callback(index.close)
    return Storage(
        database, Uploads(stores, parts), DatabaseJobStore(database), results, index, SqlAccessStore(database)
    )


@asynccontextmanager
async def open_access_store(settings: Settings) -> AsyncIterator[AccessStore]:
    """The database alone, for commands beside a running service. Raises `StorageUnusable`."""
    async with AsyncExitStack() as stack:
        with told():
            from service.access.database import SqlAccessStore  # noqa: PLC0415  SQLAlchemy is slow to import

            store = SqlAccessStore(await open_database(settings, stack))
        yield store


async def open_drafts(settings: Settings, stack: AsyncExitStack) -> Drafts:
    executor = stack.enter_context(ThreadPoolExecutor(settings.uploads.file_threads, "files"))
    disk = Disk(executor, settings.uploads.free_disk_reserve_bytes)
    drafts = Drafts(settings.data_dir / "drafts", disk)
    await drafts.make()
    return drafts


async def open_database(settings: Settings, stack: AsyncExitStack) -> "Database":
    from uploads.stores import database  # noqa: PLC0415  SQLAlchemy is slow to import

    given = settings.database_url
    url = given.get_secret_value() if given else database.sqlite_url(settings.data_dir.absolute() / DATABASE_FILE)
    opened = await database.open_database(
        url, connections=settings.database_connections, timeout_s=settings.database_timeout_s
    )
    stack.push_async_callback(opened.close)
    return opened


async def open_blobs(settings: Settings, drafts: Drafts, name: str) -> BlobStore:
    """Each owner of blobs has a folder or a prefix of its own, so that its sweep sees no others."""
    if settings.uploads.s3_url:
        from uploads.stores.s3 import S3Blobs, open_s3  # noqa: PLC0415  not everybody keeps files there

        prefix = f"{settings.uploads.s3_url.rstrip('/')}/{name}"
        return S3Blobs(open_s3(prefix, settings.uploads.s3_endpoint), drafts)
    blobs = DiskBlobs(settings.data_dir / name, settings.data_dir / "lent", drafts.disk)
    await blobs.make()
    return blobs


def limits_of(settings: Settings) -> UploadLimits:
    given = settings.uploads
    return UploadLimits(
        max_file_bytes=given.max_file_bytes,
        max_files_per_request=given.max_files_per_request,
        max_owner_bytes=given.max_owner_bytes,
        max_owner_files=given.max_owner_files,
        max_total_bytes=given.max_total_bytes,
        max_running=given.max_running,
        idle_timeout_s=given.idle_timeout_s,
        part_ttl_s=given.part_ttl_s,
    )
