"""`SqliteIndex`: finds an owner's files and does their work in threads."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from uploads.index import Embedded, Hit, IndexedDocument, Question
from uploads.stores.index.owner import OwnerIndex

Result = TypeVar("Result")
THREADS = 4
OPEN_OWNERS_MAX = 64
NAME_DIGITS = 32


class SqliteIndex:
    """Owners have files of their own: what one searches cannot even read what another one has."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="headwater-index")
        self._open: OrderedDict[str, OwnerIndex] = OrderedDict()

    async def put(self, owner: str, document: IndexedDocument, embedded: Embedded) -> None:
        await self._run(owner, lambda index: index.put(document, embedded))

    async def remove(self, owner: str, upload_id: str) -> None:
        await self._run(owner, lambda index: index.remove(upload_id))

    async def find(self, owner: str, upload_id: str) -> IndexedDocument | None:
        return await self._run(owner, lambda index: index.find(upload_id))

    async def has(self, owner: str, upload_id: str, version: str) -> bool:
        return await self._run(owner, lambda index: index.has(upload_id, version))

    async def search(self, owner: str, question: Question) -> list[Hit]:
        return await self._run(owner, lambda index: index.search(question))

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        for index in self._open.values():
            index.close()

    async def _run(self, owner: str, work: Callable[[OwnerIndex], Result]) -> Result:
        index = self._of(owner)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, index)

    def _of(self, owner: str) -> OwnerIndex:
        """Called on the event loop only. The one that was not used for longest is closed; it opens again by itself."""
        if owner not in self._open:
            name = hashlib.sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()[:NAME_DIGITS]
            self._open[owner] = OwnerIndex(self._folder / f"{name}.sqlite3")
        self._open.move_to_end(owner)
        if len(self._open) > OPEN_OWNERS_MAX:
            _, oldest = self._open.popitem(last=False)
            self._threads.submit(oldest.close)
        return self._open[owner]
