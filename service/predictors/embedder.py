"""The embedding model behind the index's protocol: found anew for every question, asked in threads.

Questions have a thread of their own. Documents are embedded in another one, which computes alone: threads that compute
together wait for each other spinning, which takes the cores from those who answer people. Its priority is as any
other's, because it holds the interpreter's lock at times: were it kept waiting for a core then, the event loop would
wait with it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from streaming.errors import EngineUnavailable
from uploads.documents.pieces import Measure
from uploads.errors import ModelUnavailable
from uploads.index import Vector, Vectors

if TYPE_CHECKING:
    from service.predictors.embedding import EmbeddingModel

Result = TypeVar("Result")


class FleetEmbedder:
    """An `uploads.index.Embedder`. `find` gives the model of the moment."""

    def __init__(self, find: "Callable[[], Awaitable[EmbeddingModel]]") -> None:
        self._find = find
        self._copies = QuickCopies()
        self._questions = ThreadPoolExecutor(1, thread_name_prefix="headwater-embed-question")
        self._documents = ThreadPoolExecutor(
            1, thread_name_prefix="headwater-embed-document", initializer=compute_alone
        )

    async def open(self) -> "ModelEncoder":
        try:
            model = await self._find()
        except EngineUnavailable as error:
            raise ModelUnavailable(error.message) from error
        self._copies.keep_only(model)
        return ModelEncoder(model, self._copies, self._questions, self._documents)

    def close(self) -> None:
        for executor in (self._questions, self._documents):
            executor.shutdown(wait=False, cancel_futures=True)


class QuickCopies:
    """The copy that documents are embedded with, of one model at a time."""

    def __init__(self) -> None:
        self._copied: tuple[EmbeddingModel, EmbeddingModel] | None = None

    def of(self, model: "EmbeddingModel") -> "EmbeddingModel":
        """Blocks the first time; used in the thread of documents only."""
        copied = self._copied
        if copied is None or copied[0] is not model:
            self._copied = copied = (model, model.quick_copy())
        return copied[1]

    def keep_only(self, model: "EmbeddingModel") -> None:
        """One that was replaced leaves memory."""
        copied = self._copied
        if copied is not None and copied[0] is not model:
            self._copied = None


@dataclass(frozen=True, slots=True)
class ModelEncoder:
    """An `uploads.index.Encoder`."""

    model: "EmbeddingModel"
    copies: QuickCopies
    questions: ThreadPoolExecutor
    documents: ThreadPoolExecutor

    @property
    def version(self) -> str:
        return self.model.version

    @property
    def measure(self) -> Measure:
        return self.model.count_tokens

    async def embed_query(self, text: str) -> Vector:
        vectors = await run(self.questions, lambda: self.model.embed([text], "query"))
        vector: Vector = vectors[0]
        return vector

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return await run(self.documents, lambda: self.copies.of(self.model).embed(texts, "document"))


async def run(executor: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(executor, work)


def compute_alone() -> None:
    from service.predictors.embedding import compute_alone as alone  # noqa: PLC0415  torch is slow to import

    alone()
