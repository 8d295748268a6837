"""Answers from files, over the library: `streaming.grounding.Grounding` for uploads."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from service import context
from service.context import Chosen
from service.support import supporting
from streaming.errors import GroundingFailed, PromptTooLong
from streaming.events import Citation, IngestStep, Progress
from streaming.grounding import Ask, Grounded
from uploads.documents.errors import EmptyDocument
from uploads.errors import UploadsError
from uploads.index import Hit, IndexedDocument
from uploads.library import Library
from uploads.records import Upload
from uploads.uploads import Uploads

STEPS: dict[str, IngestStep] = {"read": "read", "embed": "embed", "index": "index"}
CANDIDATES_A_CITATION = 4  # found pieces are left out when the model was not given them, or they say little of it
LEAST_PIECE_TOKENS = 16


@dataclass(frozen=True, slots=True)
class GroundingLimits:
    max_citations: int = 3
    max_query_chars: int = 4000


class LibraryGrounding:
    """Used on one event loop. A file that several answers wait for is read once."""

    def __init__(self, uploads: Uploads, library: Library, limits: GroundingLimits) -> None:
        self._uploads = uploads
        self._library = library
        self._limits = limits
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def check(self, owner: str, upload_ids: Sequence[str]) -> None:
        for upload_id in upload_ids:
            await self._uploads.find(upload_id, owner)

    async def prepare(self, ask: Ask, on_progress: Callable[[Progress], None]) -> Grounded:
        try:
            entries = [await self._read(upload_id, ask.owner, on_progress) for upload_id in ask.upload_ids]
            refuse_without_text(entries)
            files = await self._choose(ask, entries)
        except UploadsError as error:
            raise GroundingFailed(error.message, error.code, retryable=error.retryable) from error

        async def cite(answer: str) -> list[Citation]:
            return await self._cite(ask, files, answer)

        return Grounded(context.with_files(ask.request, files), tuple(one.described() for one in files), cite)

    async def _read(self, upload_id: str, owner: str, on_progress: Callable[[Progress], None]) -> IndexedDocument:
        upload = await self._uploads.find(upload_id, owner)
        async with self._turns.setdefault(upload_id, asyncio.Lock()):
            await self._library.make_searchable(upload, progress_of(upload, on_progress))
        return await self._library.read_document(upload)

    async def _choose(self, ask: Ask, entries: Sequence[IndexedDocument]) -> list[Chosen]:
        frame = context.OPENING + "".join(context.shown(Chosen(entry, [], is_whole=False)) for entry in entries)
        room = ask.room_tokens - (await ask.count_tokens([frame]))[0]
        if room < LEAST_PIECE_TOKENS * len(entries):
            raise PromptTooLong(f"There is room for {ask.room_tokens} tokens of files, too little for {len(entries)}.")
        sizes = {entry.upload_id: await self._size(ask, entry, room) for entry in entries}
        shares = context.shares_of(sizes, room)
        return [
            context.whole(entry)
            if sizes[entry.upload_id] <= shares[entry.upload_id]
            else await self._best(ask, entry, shares[entry.upload_id])
            for entry in entries
        ]

    async def _size(self, ask: Ask, entry: IndexedDocument, room: int) -> int:
        """In tokens; a text that is far too long for the room is not counted."""
        text = entry.document.text
        if len(text) > room * context.CHARACTERS_A_TOKEN_MAX:
            return len(text)
        return (await ask.count_tokens([text]))[0]

    async def _best(self, ask: Ask, entry: IndexedDocument, share: int) -> Chosen:
        question = context.question_of(ask.request)[: self._limits.max_query_chars]
        limit = share // LEAST_PIECE_TOKENS + 1
        hits = await self._library.best_pieces(question, ask.owner, {entry.upload_id}, limit)
        pieces = [hit.piece for hit in hits]
        sizes = await ask.count_tokens([f"[page {piece.page}]\n{piece.text}{context.GAP}" for piece in pieces])
        return Chosen(entry, context.best_that_fit(pieces, sizes, share), is_whole=False)

    async def _cite(self, ask: Ask, files: Sequence[Chosen], answer: str) -> list[Citation]:
        """Of what the model was given and is like question and answer: where the words of a sentence stand."""
        if not answer.strip():
            return []
        half = self._limits.max_query_chars // 2
        question = context.question_of(ask.request)
        query = f"{question[:half]}\n{answer[:half]}"
        limit = self._limits.max_citations * CANDIDATES_A_CITATION
        hits = await self._library.best_pieces(query, ask.owner, {one.entry.upload_id for one in files}, limit)
        given = {one.entry.upload_id: one for one in files}
        found = [quote for hit in hits if (quote := quoted(given[hit.upload_id], hit)) is not None]
        return supporting(found, question, answer)[: self._limits.max_citations]


def refuse_without_text(entries: Sequence[IndexedDocument]) -> None:
    """A model that is given nothing makes its answer up. Beside other files, `documents` says that one gave nothing."""
    if not any(entry.document.text.strip() for entry in entries):
        names = ", ".join(entry.filename for entry in entries)
        raise EmptyDocument(f"No text was found in {names}.")


def progress_of(upload: Upload, on_progress: Callable[[Progress], None]) -> Callable[[str, int, int | None], None]:
    def tell(step: str, done: int, total: int | None) -> None:
        on_progress(Progress("ingest", done, total or 1, STEPS[step], upload.id, upload.filename))

    return tell


def quoted(chosen: Chosen, hit: Hit) -> Citation | None:
    """None for a piece that the model was not given."""
    part = chosen.overlap(hit.piece)
    if part is None:
        return None
    document = chosen.entry.document
    page = document.span_at(part.start).page
    return Citation(hit.upload_id, hit.filename, page, part.start, part.end, document.text[part.start : part.end])
