"""What is known of an upload, and the store that keeps it: contents are counted, so that one is stored once."""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

ID_BYTES = 16
_UPLOAD_ID = re.compile(r"u[0-9a-f]{32}")
_PART_ID = re.compile(r"p[0-9a-f]{32}")
_CURSOR = re.compile(r"(\d{1,12}\.\d{1,6})-(u[0-9a-f]{32})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was received whole. `blob` is where the store of contents keeps its bytes."""

    id: str
    owner: str
    filename: str
    size: int
    sha256: str
    media_type: str
    created_at: float
    blob: str


@dataclass(frozen=True, slots=True)
class Part:
    """A resumable upload: `received` bytes are safely kept. Once it is whole it names the upload that it became."""

    id: str
    owner: str
    metadata: str
    length: int | None
    received: int
    created_at: float
    expires_at: float
    upload_id: str | None = None

    @property
    def is_whole(self) -> bool:
        return self.received == self.length


@dataclass(frozen=True, slots=True)
class Usage:
    """What one owner keeps, unfinished uploads counted with the length they announced, and what all keep together."""

    owner_files: int
    owner_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Quota:
    max_owner_files: int
    max_owner_bytes: int
    max_total_bytes: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place after an upload in a list that begins with the newest."""

    created_at: float
    upload_id: str

    def __str__(self) -> str:
        return f"{self.created_at:.6f}-{self.upload_id}"


class MissingBlob(LookupError):
    """No content of this kind is stored, and none was brought along."""


class UploadStore(Protocol):
    """Keeps uploads, contents and parts. Every call is one transaction: done and durable, or not done at all.

    - `add` files uploads together. Content that is already stored is used again; for other content the caller has
      put a blob in place, and names it in `blobs` by its sha256. Gives the uploads with the blob that each got. Raises
      `MissingBlob` for content that is neither stored nor named, `QuotaExceeded` and `StoreFull` over a quota. With
      `part_id` that part becomes the (only) upload; it raises `UnknownPart` if the part is gone or was finished.
    - `remove` takes an upload away and gives the blob that nobody uses any more. Whoever asked then removes its bytes:
      a blob's name is used once, so nobody can come to need it again.
    - Whoever dies between the two, or between putting a blob in place and `add`, leaves bytes that no row names;
      `known_blobs` says which names have a row, for the search that removes the others.
    - An owner sees only what is its own: somebody else's is None, as is what does not exist.
    """

    async def add(
        self, uploads: Sequence[Upload], blobs: Mapping[str, str], quota: Quota, part_id: str | None = None
    ) -> list[Upload]: ...

    async def find(self, upload_id: str, owner: str) -> Upload | None: ...

    async def page(self, owner: str, after: Cursor | None, limit: int) -> list[Upload]:
        """The newest first."""

    async def remove(self, upload_id: str, owner: str) -> "Removed | None": ...

    async def stored(self, sha256s: Sequence[str]) -> set[str]:
        """Which of these contents are there."""

    async def known_blobs(self, names: Sequence[str]) -> set[str]: ...

    async def usage(self, owner: str) -> Usage: ...

    async def add_part(self, part: Part, quota: Quota) -> None:
        """Raises `QuotaExceeded` when its length goes over the quota."""

    async def find_part(self, part_id: str, owner: str) -> Part | None: ...

    async def move_part(self, part: Part, moved: Part) -> None:
        """Raises `OffsetMismatch` when the part is not where the caller believes it is, or is gone."""

    async def remove_part(self, part_id: str, owner: str) -> Part | None: ...

    async def expired_parts(self, before: float, limit: int) -> list[Part]: ...

    async def known_parts(self, part_ids: Sequence[str]) -> set[str]:
        """Which of these still have bytes of their own: neither removed nor finished."""


@dataclass(frozen=True, slots=True)
class Removed:
    upload: Upload
    unused_blob: str | None


def new_upload_id() -> str:
    return "u" + secrets.token_hex(ID_BYTES)


def is_upload_id(word: str) -> bool:
    return _UPLOAD_ID.fullmatch(word) is not None


def new_part_id() -> str:
    return "p" + secrets.token_hex(ID_BYTES)


def is_part_id(word: str) -> bool:
    return _PART_ID.fullmatch(word) is not None


def parse_cursor(word: str) -> Cursor | None:
    found = _CURSOR.fullmatch(word)
    return Cursor(float(found[1]), found[2]) if found else None
