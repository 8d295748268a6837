"""How much may come, and the counting while it comes. Everything is refused before it is written."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from uploads.errors import FileTooLarge, QuotaExceeded, StoreFull, TooManyFiles, TooManyUploads
from uploads.records import Quota, Usage

MIB = 1024 * 1024
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class UploadLimits:
    max_file_bytes: int = 2 * GIB
    max_files_per_request: int = 32
    max_owner_bytes: int = 16 * GIB
    max_owner_files: int = 10_000
    max_total_bytes: int = 64 * GIB
    max_running: int = 64
    idle_timeout_s: float = 30.0
    part_ttl_s: float = 86_400.0

    @property
    def quota(self) -> Quota:
        return Quota(self.max_owner_files, self.max_owner_bytes, self.max_total_bytes)


def refuse_excess(quota: Quota, usage: Usage) -> None:
    """Raises for what would be kept, all taken together."""
    if usage.owner_files > quota.max_owner_files:
        raise QuotaExceeded(f"At most {quota.max_owner_files} files are kept for one caller; delete some first.")
    if usage.owner_bytes > quota.max_owner_bytes:
        raise QuotaExceeded(f"At most {quota.max_owner_bytes} bytes are kept for one caller; delete some first.")
    if usage.total_bytes > quota.max_total_bytes:
        raise StoreFull("The service keeps as much as it may.")


class Traffic:
    """What is being received now, by owner. Used on the event loop only; an owner without traffic has no entry."""

    def __init__(self) -> None:
        self.running = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.bytes_of: Counter[str] = Counter()

    @contextmanager
    def one_more(self, limits: UploadLimits) -> Iterator[None]:
        if self.running >= limits.max_running:
            raise TooManyUploads(f"{limits.max_running} uploads are being received; try again.")
        self.running += 1
        self.idle.clear()
        try:
            yield
        finally:
            self.running -= 1
            if not self.running:
                self.idle.set()


class Budget:
    """Counts one request's bytes against every limit. `close` it when they are stored or thrown away."""

    def __init__(self, limits: UploadLimits, used: Usage, owner: str, traffic: Traffic) -> None:
        self._limits = limits
        self._used = used
        self._owner = owner
        self._traffic = traffic
        self._files = 0
        self._file_bytes = 0
        self._bytes = 0

    def begin_file(self, declared_bytes: int = 0) -> None:
        """`declared_bytes` of it are announced; too many are refused before the first is read."""
        if self._files >= self._limits.max_files_per_request:
            raise TooManyFiles(f"At most {self._limits.max_files_per_request} files are taken in one request.")
        self._files += 1
        self._file_bytes = 0
        self._check(declared_bytes)

    def take(self, count: int) -> None:
        self._check(count)
        self._file_bytes += count
        self._bytes += count
        self._traffic.bytes_of[self._owner] += count

    def close(self) -> None:
        self._traffic.bytes_of[self._owner] -= self._bytes
        self._bytes = 0
        if not self._traffic.bytes_of[self._owner]:
            del self._traffic.bytes_of[self._owner]

    def _check(self, count: int) -> None:
        if self._file_bytes + count > self._limits.max_file_bytes:
            raise FileTooLarge(f"A file has at most {self._limits.max_file_bytes} bytes.")
        used, coming = self._used, self._traffic.bytes_of
        wanted = Usage(
            used.owner_files + self._files,
            used.owner_bytes + coming[self._owner] + count,
            used.total_bytes + coming.total() + count,
        )
        refuse_excess(self._limits.quota, wanted)
