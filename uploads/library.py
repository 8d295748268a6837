"""What is known of the documents among the uploads: their text, their pieces, and which piece answers a question.

A file is parsed in the sandbox, cut into pieces, embedded and put into the index; each of these steps blocks only
threads and processes of its own.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from uploads.documents import transport
from uploads.documents.limits import DocumentLimits
from uploads.documents.pieces import Piece, PieceSize, split
from uploads.errors import UnknownUpload
from uploads.index import Embedded, Embedder, Encoder, Hit, Index, IndexedDocument, Question, Vectors
from uploads.names import spoken_name
from uploads.records import Upload
from uploads.sandbox import Sandbox
from uploads.unfinished import Unfinished
from uploads.uploads import Uploads

EMBEDDED_AT_ONCE = 32  # between two of these a job can be cancelled, and a question gets its turn
CONTEXT_CHARACTERS_MAX = 160
OnProgress: TypeAlias = Callable[[str, int, int | None], None]
"""Phase (`read`, `embed` or `index`), how much of it is done, and of how much."""


def ignore(_phase: str, _done: int, _total: int | None) -> None:
    pass


@dataclass(frozen=True, slots=True)
class LibraryParts:
    """Pictures are read in `recognition`, which has what that takes loaded; other files in `sandbox`."""

    uploads: Uploads
    sandbox: Sandbox
    recognition: Sandbox
    embedder: Embedder
    index: Index


class Library:
    """Used on one event loop. Everything raises `UploadsError`, in words for the client."""

    def __init__(self, parts: LibraryParts, limits: DocumentLimits, size: PieceSize) -> None:
        self._parts = parts
        self.recognition = parts.recognition
        self._limits = limits
        self._size = size
        self._unfinished = Unfinished()

    async def read_document(self, upload: Upload, on_progress: OnProgress = ignore) -> IndexedDocument:
        """Its text and pieces: as the index has them, else read anew and not kept."""
        kept = await self._parts.index.find(upload.owner, upload.id)
        return kept or await self._parse(upload, await self._parts.embedder.open(), on_progress)

    async def make_searchable(self, upload: Upload, on_progress: OnProgress = ignore) -> None:
        """Nothing to do when it is searchable with the model of today."""
        encoder = await self._parts.embedder.open()
        if not await self._parts.index.has(upload.owner, upload.id, encoder.version):
            await self.ingest(upload, on_progress)

    async def ingest(self, upload: Upload, on_progress: OnProgress = ignore) -> IndexedDocument:
        """Makes it searchable, anew if it is already. Cancelled midway it leaves the index as it was.

        What was embedded until then is kept for the next time.
        """
        encoder = await self._parts.embedder.open()
        entry = await self._parse(upload, encoder, on_progress)
        vectors = self._unfinished.take((upload.id, encoder.version))
        try:
            await self._embed(upload, encoder, entry, vectors, on_progress)
            on_progress("index", 0, 1)
            rows = np.concatenate(vectors) if vectors else np.zeros((0, 0), np.float32)
            await self._parts.index.put(upload.owner, entry, Embedded(rows, encoder.version))
        except UnknownUpload:
            raise  # deleted meanwhile: nobody comes back for it
        except BaseException:
            self._unfinished.put((upload.id, encoder.version), vectors)
            raise
        await self._forget_if_deleted(upload)
        on_progress("index", 1, 1)
        return entry

    async def search(self, query: str, owner: str, upload_ids: Collection[str] | None, limit: int) -> list[Hit]:
        """`best_pieces`, but an upload that is not the owner's raises `UnknownUpload`."""
        for upload_id in upload_ids or ():
            await self._parts.uploads.find(upload_id, owner)
        return await self.best_pieces(query, owner, upload_ids, limit)

    async def best_pieces(self, query: str, owner: str, upload_ids: Collection[str] | None, limit: int) -> list[Hit]:
        """Of these documents, or of all that the owner has made searchable."""
        encoder = await self._parts.embedder.open()
        vector = await encoder.embed_query(query)
        return await self._parts.index.search(owner, Question(query, vector, encoder.version, limit, upload_ids))

    async def delete(self, upload_id: str, owner: str) -> None:
        """The upload and everything that is known of it. Raises `UnknownUpload`."""
        upload = await self._parts.uploads.find(upload_id, owner)
        await self._parts.index.remove(
            owner, upload.id
        )  # first, so that a crash in between leaves no trace in searches
        await self._parts.uploads.delete(upload.id, owner)
        self._unfinished.forget(upload.id)
        await self._parts.index.remove(owner, upload.id)  # what was just being made searchable

    async def _embed(
        self,
        upload: Upload,
        encoder: Encoder,
        entry: IndexedDocument,
        vectors: list[Vectors],
        on_progress: OnProgress,
    ) -> None:
        """Adds to the vectors what they lack, while the upload is there."""
        total, done = len(entry.pieces), sum(len(batch) for batch in vectors)
        on_progress("embed", done, total)
        for batch in batched(entry.pieces[done:]):
            texts = [in_context(entry.filename, piece) for piece in batch]
            vectors.append(await encoder.embed_documents(texts))
            await self._parts.uploads.find(upload.id, upload.owner)
            on_progress("embed", batch[-1].number + 1, total)

    async def _forget_if_deleted(self, upload: Upload) -> None:
        try:
            await self._parts.uploads.find(upload.id, upload.owner)
        except UnknownUpload:
            await self._parts.index.remove(upload.owner, upload.id)
            raise

    async def _parse(self, upload: Upload, encoder: Encoder, on_progress: OnProgress) -> IndexedDocument:
        on_progress("read", 0, None)
        async with self._parts.uploads.local_path(upload) as path:
            is_picture = upload.media_type.startswith("image/")
            sandbox = self._parts.recognition if is_picture else self._parts.sandbox
            plain = await sandbox.run(
                transport.PARSE, str(path), upload.media_type, upload.filename, transport.plain_limits(self._limits)
            )
        document = transport.document_of(plain)
        pieces = await asyncio.to_thread(split, document, encoder.measure, self._size)
        on_progress("read", 1, 1)
        return IndexedDocument(upload.id, upload.filename, document, pieces)


def batched(pieces: Sequence[Piece]) -> Iterator[Sequence[Piece]]:
    for start in range(0, len(pieces), EMBEDDED_AT_ONCE):
        yield pieces[start : start + EMBEDDED_AT_ONCE]


def in_context(filename: str, piece: Piece) -> str:
    """What a piece is about often stands only above it: in the file's name and in the headings."""
    context = f"{spoken_name(filename)}: {piece.heading}"[:CONTEXT_CHARACTERS_MAX]
    return f"{context}\n{piece.text}"
