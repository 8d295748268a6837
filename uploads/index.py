"""The search index: pieces of documents, found by their words and by their meaning. What it holds can be made again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from uploads.documents.document import Document
from uploads.documents.pieces import Measure, Piece

Vector: TypeAlias = NDArray[np.float32]
Vectors: TypeAlias = NDArray[np.float32]


class Encoder(Protocol):
    """One version of a model that turns texts into vectors of length 1. Vectors of two versions cannot be compared.

    Nothing blocks the event loop but `measure`. `embed_query` comes before `embed_documents`, which is work in the
    background.
    """

    @property
    def version(self) -> str: ...

    @property
    def measure(self) -> Measure:
        """A function that counts word pieces; it blocks."""

    async def embed_query(self, text: str) -> Vector: ...

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """One row for each text."""


class Embedder(Protocol):
    """Has the model of the moment; what was opened stays the same version, whatever comes after it."""

    async def open(self) -> Encoder:
        """Waits until the model is there, within a deadline, and raises what keeps it from being there."""


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """A document that was cut into pieces."""

    upload_id: str
    filename: str
    document: Document
    pieces: Sequence[Piece]


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors of a document's pieces, a row for each, and the version of the model that they come from."""

    vectors: Vectors
    version: str


@dataclass(frozen=True, slots=True)
class Question:
    """`upload_ids` None means all documents of the owner."""

    text: str
    vector: Vector
    version: str
    limit: int
    upload_ids: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A piece that answers. `score` is between 0 and 1 and grows with how well it does."""

    upload_id: str
    filename: str
    piece: Piece
    score: float


class Index(Protocol):
    """Every call is about one owner, and no other owner's documents can change what it gives, not even a score.

    1. `put` makes the document findable, or replaces it: readers see all of the old one or all of the new one. When it
       returns that survives a power failure. Any number of processes may write and read at the same time.
    2. `remove` takes it away; it is no error when it is not there.
    3. `find` gives it back as it was put.
    4. `search` gives the best pieces first, ranked by words and by vectors. Documents whose vectors have another
       version than the question's are found by their words.
    5. Nothing here blocks the event loop.

    No other words than `StoreUnavailable`, `StoreFull` and `StoreFailed` for what goes wrong.
    """

    async def put(self, owner: str, document: IndexedDocument, embedded: Embedded) -> None: ...

    async def remove(self, owner: str, upload_id: str) -> None: ...

    async def find(self, owner: str, upload_id: str) -> IndexedDocument | None: ...

    async def has(self, owner: str, upload_id: str, version: str) -> bool:
        """Whether it is there with vectors of this version."""

    async def search(self, owner: str, question: Question) -> list[Hit]: ...

    async def close(self) -> None: ...
