"""The embedding model behind the index's protocol: found anew for every question, asked in threads.

Questions have a thread of their own. Documents are embedded in another one that yields to everybody else, so that a
large file being made searchable slows nobody's answer down.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from streaming.errors import EngineUnavailable
from uploads.documents.pieces import Measure
from uploads.errors import ModelUnavailable
from uploads.index import Vector, Vectors

if TYPE_CHECKING:
    from service.predictors.embedding import EmbeddingModel

Result = TypeVar("Result")
NICENESS = 10


class FleetEmbedder:
    """An `uploads.index.Embedder`."""

    def __init__(self, find: "Callable[[], Awaitable[EmbeddingModel]]") -> None:
        self._find = find
        self._questions = ThreadPoolExecutor(1, thread_name_prefix="headwater-embed-question")
        self._documents = ThreadPoolExecutor(1, thread_name_prefix="headwater-embed-document", initializer=yield_to_all)

    async def version(self) -> str:
        return (await self._open()).version

    async def measure(self) -> Measure:
        return (await self._open()).count_tokens

    async def embed_query(self, text: str) -> Vector:
        model = await self._open()
        vectors = await run(self._questions, lambda: model.embed([text], "query"))
        vector: Vector = vectors[0]
        return vector

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        model = await self._open()
        return await run(self._documents, lambda: model.embed(texts, "document"))

    async def _open(self) -> "EmbeddingModel":
        try:
            return await self._find()
        except EngineUnavailable as error:
            raise ModelUnavailable(error.message) from error

    def close(self) -> None:
        for executor in (self._questions, self._documents):
            executor.shutdown(wait=False, cancel_futures=True)


async def run(executor: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(executor, work)


def yield_to_all() -> None:
    """On Linux a priority belongs to a thread, and the threads that it starts to compute inherit it."""
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
