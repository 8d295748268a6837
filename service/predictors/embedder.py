"""The embedding model behind the index's protocol: found anew for every question, asked in threads.

Questions have a thread of their own. Documents are embedded in another one, which computes alone: threads that compute
together wait for each other spinning, which takes the cores from those who answer people. Its priority is as any
other's, because it holds the interpreter's lock at times: were it kept waiting for a core then, the event loop would
wait with it.
"""

import asyncio
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


class FleetEmbedder:
    """An `uploads.index.Embedder`."""

    def __init__(self, find: "Callable[[], Awaitable[EmbeddingModel]]") -> None:
        self._find = find
        self._copied: tuple[EmbeddingModel, EmbeddingModel] | None = None
        self._questions = ThreadPoolExecutor(1, thread_name_prefix="headwater-embed-question")
        self._documents = ThreadPoolExecutor(
            1, thread_name_prefix="headwater-embed-document", initializer=compute_alone
        )

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
        return await run(self._documents, lambda: self._quick(model).embed(texts, "document"))

    def _quick(self, model: "EmbeddingModel") -> "EmbeddingModel":
        """Used in the thread of documents only."""
        if self._copied is None or self._copied[0] is not model:
            self._copied = (model, model.quick_copy())
        return self._copied[1]

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


def compute_alone() -> None:
    from service.predictors.embedding import compute_alone as alone  # noqa: PLC0415  torch is slow to import

    alone()
