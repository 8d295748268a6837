"""Where the bytes of uploads are kept, whatever keeps them."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, TypeAlias

Known: TypeAlias = Callable[[Sequence[str]], Awaitable[set[str]]]
READ_BYTES = 256 * 1024


class BlobStore(Protocol):
    """Keeps contents under names that the service makes. A name is used once, and what it stands for never changes.

    1. `keep` takes over a file whose bytes are on the disk. When it returns the blob is durable and whole; until then
       nobody sees it. The file may be gone afterwards or not.
    2. `read` gives the bytes from `start` to before `stop` in pieces of bounded size, also while the blob is removed.
       It raises `ContentUnavailable` before the first piece when there is no such blob, or when it is shorter.
    3. `open` gives a local file to programs that need one, until it is left.
    4. `remove` is no error when there is no such blob.
    5. `sweep` removes what was left behind: blobs that are not `known` and that nobody is about to make known.

    No other words than `StoreFull`, `StoreUnavailable`, `StoreFailed` and `ContentUnavailable` for what goes wrong.
    """

    async def keep(self, path: Path, name: str) -> None: ...

    def read(self, name: str, start: int, stop: int) -> AsyncGenerator[bytes, None]: ...

    def open(self, name: str) -> AbstractAsyncContextManager[Path]: ...

    async def remove(self, name: str) -> None: ...

    async def sweep(self, known: Known) -> int:
        """How many were removed."""

    async def close(self) -> None: ...
