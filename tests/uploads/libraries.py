"""A real library for tests: real uploads, a real sandbox, a real index; the embedding model is the test's choice."""

import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from service.storage import open_storage
from tests.server import echo_settings
from uploads.documents.limits import DocumentLimits
from uploads.documents.pieces import Measure, PieceSize
from uploads.index import Embedder, Index, Vector, Vectors
from uploads.library import Library, LibraryParts
from uploads.records import Upload
from uploads.sandbox import Bounds, Sandbox
from uploads.stores.index import SqliteIndex
from uploads.uploads import Uploads

DIMENSIONS = 256
BOUNDS = Bounds(wall_s=60, cpu_s=60, memory_bytes=2 << 30)


@dataclass
class HashingEmbedder:
    """Vectors that know words and nothing of their meaning: each word has a place of its own."""

    name: str = "hashing"
    embedded: list[str] = field(default_factory=list)

    async def open(self) -> "HashingEmbedder":
        return self

    @property
    def version(self) -> str:
        return self.name

    @property
    def measure(self) -> Measure:
        return lambda texts: [len(text.split()) for text in texts]

    async def embed_query(self, text: str) -> Vector:
        return self._vector(text)

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.embedded += texts
        return np.stack([self._vector(text) for text in texts])

    def _vector(self, text: str) -> Vector:
        vector = np.full(DIMENSIONS, 1e-3, np.float32)
        for word in text.lower().split():
            vector[zlib.crc32(word.strip(".,?:").encode()) % DIMENSIONS] += 1
        return np.asarray(vector / np.linalg.norm(vector), np.float32)


@dataclass(frozen=True)
class Shelf:
    """A library with what it stands on."""

    library: Library
    uploads: Uploads
    index: Index

    async def keep(self, path: Path, owner: str = "ann") -> Upload:
        return await self.keep_bytes(path.read_bytes(), path.name, owner)  # noqa: ASYNC240  small, and a test

    async def keep_text(self, text: str, name: str = "a.txt", owner: str = "ann") -> Upload:
        return await self.keep_bytes(text.encode(), name, owner)

    async def keep_bytes(self, content: bytes, name: str, owner: str) -> Upload:
        async def stream() -> AsyncIterator[bytes]:
            yield content

        return await self.uploads.keep(stream(), filename=name, owner=owner)


@asynccontextmanager
async def open_shelf(folder: Path, embedder: Embedder, size: PieceSize | None = None) -> AsyncIterator[Shelf]:
    index = SqliteIndex(folder / "index")
    sandbox = Sandbox(BOUNDS, 2)
    async with open_storage(echo_settings(data_dir=folder)) as storage:
        parts = LibraryParts(storage.uploads, sandbox, sandbox, embedder, index)
        try:
            yield Shelf(Library(parts, DocumentLimits(), size or PieceSize()), storage.uploads, index)
        finally:
            await index.close()
            await sandbox.close()
