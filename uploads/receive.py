"""A stream of bytes becomes a file: counted before anything else, then written and hashed in threads, by blocks."""

import asyncio
import hashlib
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType

from uploads.drafts import Draft
from uploads.files import Disk
from uploads.media_types import HEAD_BYTES, TAIL_BYTES, media_type_of

BLOCK_BYTES = 512 * 1024  # going to a thread then costs little beside the work there


@dataclass(frozen=True, slots=True)
class Content:
    """What was received whole; its bytes are on the disk only after `Draft.end`."""

    size: int
    sha256: str
    media_type: str


async def receive(
    stream: AsyncIterable[bytes], draft: Draft, disk: Disk, take: Callable[[int], None], label: str
) -> Content:
    """`take` is told of every piece before it is used, and raises when it is too much."""
    digest = hashlib.sha256()
    size = 0

    async def store(block: bytes) -> None:
        await asyncio.gather(draft.write(block), disk.run(digest.update, block))

    async with Blocks(store) as blocks:
        async for piece in stream:
            take(len(piece))
            size += len(piece)
            await blocks.add(piece)
    head, tail = await draft.ends(HEAD_BYTES, TAIL_BYTES)
    return Content(size, digest.hexdigest(), await disk.run(media_type_of, head, tail, label))


class Blocks:
    """Gathers pieces to blocks, and stores one while the next comes in: two are in memory at most.

    Left without an exception everything was stored. Left with one, what was begun has ended: nobody still writes.
    """

    def __init__(self, store: Callable[[bytes], Awaitable[None]]) -> None:
        self._store = store
        self._pieces: list[bytes] = []
        self._size = 0
        self._storing: asyncio.Future[None] | None = None

    async def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= BLOCK_BYTES:
            await self._store_gathered()

    async def flush(self) -> None:
        if self._pieces:
            await self._store_gathered()
        await self._settle()

    async def _store_gathered(self) -> None:
        await self._settle()
        block = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        self._storing = asyncio.ensure_future(self._store(block))

    async def _settle(self) -> None:
        if self._storing is not None:
            await asyncio.shield(self._storing)  # a thread that writes cannot be stopped; see `__aexit__`

    async def __aenter__(self) -> "Blocks":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self.flush()
        finally:
            if self._storing is not None:
                await asyncio.wait([self._storing])
                if not self._storing.cancelled():
                    self._storing.exception()  # it was raised above, or something else already is
