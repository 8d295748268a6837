"""One request that brings files: received one after the other, then kept all together or not at all."""

import secrets
import time
from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from uploads.blobs import BlobStore
from uploads.drafts import Draft, Drafts
from uploads.errors import StoreUnavailable, UploadsError
from uploads.labels import label_of
from uploads.limits import Budget, Traffic, UploadLimits
from uploads.observer import UNOBSERVED, Observer
from uploads.receive import Content, receive
from uploads.records import MissingBlob, Upload, UploadStore, new_upload_id


@dataclass(frozen=True, slots=True)
class Stores:
    records: UploadStore
    blobs: BlobStore
    drafts: Drafts
    limits: UploadLimits
    traffic: Traffic = field(default_factory=Traffic)
    observer: Observer = UNOBSERVED


class Intake:
    """`close` it: without a `commit` before nothing stays of what was received."""

    def __init__(self, stores: Stores, budget: Budget, owner: str) -> None:
        self._stores = stores
        self._budget = budget
        self._owner = owner
        self._drafts: list[Draft] = []
        self._uploads: list[Upload] = []

    @property
    def is_empty(self) -> bool:
        return not self._uploads

    async def add(self, stream: AsyncIterable[bytes], filename: str | None, declared_bytes: int = 0) -> None:
        """`declared_bytes`: how much will come as the client says; too much is refused before it is read."""
        label = label_of(filename)
        self._budget.begin_file(declared_bytes)
        draft = await self._stores.drafts.open()
        self._drafts.append(draft)
        await draft.refuse_if_full(declared_bytes)
        content = await receive(stream, draft, self._stores.drafts.disk, self._take, label)
        self._uploads.append(made_upload(self._owner, label, content))

    async def commit(self) -> list[Upload]:
        """When it returns, the files and all that is known of them are durable."""
        for draft in self._drafts:
            await draft.end()
        paths = {upload.sha256: draft.path for upload, draft in zip(self._uploads, self._drafts, strict=True)}
        kept = await file_away(self._stores, self._uploads, paths)
        self._stores.observer.kept(len(kept))
        return kept

    async def close(self) -> None:
        self._budget.close()
        for draft in self._drafts:
            await draft.close()

    def _take(self, count: int) -> None:
        self._budget.take(count)
        self._stores.observer.received(count)


def made_upload(owner: str, label: str, content: Content) -> Upload:
    """Its blob is known once it is filed away."""
    return Upload(
        id=new_upload_id(),
        owner=owner,
        filename=label,
        size=content.size,
        sha256=content.sha256,
        media_type=content.media_type,
        created_at=round(time.time(), 6),
        blob="",
    )


async def file_away(
    stores: Stores, uploads: Sequence[Upload], paths: Mapping[str, Path], part_id: str | None = None
) -> list[Upload]:
    """Puts contents that are not stored yet in place, then stores the rows. `paths` are durable, by their sha256."""
    kept: dict[str, str] = {}
    try:
        while True:
            stored = await stores.records.stored(list(paths))
            for sha256 in paths.keys() - stored - kept.keys():
                kept[sha256] = secrets.token_hex(16)
                await stores.blobs.keep(paths[sha256], kept[sha256])
            try:
                filed = await stores.records.add(uploads, kept, stores.limits.quota, part_id)
            except MissingBlob:  # removed since we asked: this time we bring it along
                continue
            break
    except UploadsError as error:
        if (
            type(error) is not StoreUnavailable
        ):  # else the rows may be stored although nobody said so: a sweep finds out
            await remove_unknown(stores, list(kept.values()))
        raise
    await remove_unknown(stores, [name for name in kept.values() if name not in {upload.blob for upload in filed}])
    return filed


async def remove_unknown(stores: Stores, names: list[str]) -> None:
    for name in set(names) - await stores.records.known_blobs(names):
        await stores.blobs.remove(name)


async def discard(stores: Stores, upload_id: str, owner: str) -> bool:
    """False when there is no such upload."""
    removed = await stores.records.remove(upload_id, owner)
    if removed is not None and removed.unused_blob is not None:
        await stores.blobs.remove(removed.unused_blob)
    return removed is not None
