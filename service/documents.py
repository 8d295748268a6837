"""Puts together what reads, finds and recognises: a library over the uploads, and the models that it needs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

from service.document_settings import DocumentSettings
from service.models.config import ModelEntry
from service.models.fleet import Fleet
from service.models.identity import version_without_files
from service.models.loaders import Load
from service.models.store import PreparedModel
from service.predictors.embedder import FleetEmbedder
from service.predictors.predictor import OneShot
from service.predictors.recognition import TextRecognition
from service.settings import Settings
from service.storage import Storage
from streaming.predictor import Predictor
from uploads.documents import transport
from uploads.documents.pieces import PieceSize
from uploads.library import Library, LibraryParts
from uploads.sandbox import Sandbox
from uploads.search_routes import SearchBackend

if TYPE_CHECKING:
    from service.predictors.embedding import EmbeddingModel


@asynccontextmanager
async def open_library(
    settings: Settings, storage: Storage, fleet: Fleet, recognition: Sandbox
) -> AsyncIterator[Library]:
    """Opens no model: the first request that needs one does. At its end `recognition` is closed as well."""
    given = settings.documents
    embedder = FleetEmbedder(partial(find_embedding, fleet))
    try:
        async with open_sandbox(given) as sandbox:
            parts = LibraryParts(storage.uploads, sandbox, recognition, embedder, storage.index)
            size = PieceSize(given.piece_word_pieces, given.piece_overlap_word_pieces)
            yield Library(parts, given.limits, size)
    finally:
        embedder.close()
        await recognition.close()


async def find_embedding(fleet: Fleet) -> "EmbeddingModel":
    return cast("EmbeddingModel", await fleet.one_shot(fleet.name_of_kind("embedding")))


def open_search_backend(settings: Settings, library: Library) -> SearchBackend:
    given = settings.documents
    return SearchBackend(library, given.max_query_chars, given.max_top_k, given.max_upload_ids)


def make_recognition(given: DocumentSettings) -> Sandbox:
    """Where the text in pictures is read, of documents and by the model of pictures. Starts no process yet."""
    return Sandbox(given.bounds, given.parse_processes, preload=transport.WARM_UP, idle_s=given.recognition_idle_s)


@asynccontextmanager
async def open_sandbox(given: DocumentSettings) -> AsyncIterator[Sandbox]:
    """Starts no process: the first file does."""
    sandbox = Sandbox(given.bounds, given.parse_processes)
    try:
        yield sandbox
    finally:
        await sandbox.close()


def with_recognition(load: Load, sandbox: Sandbox) -> Load:
    """A model of pictures without files is text recognition; its processes belong to the running loop."""
    loop = asyncio.get_running_loop()

    def load_any(entry: ModelEntry, prepared: PreparedModel | None, settings: Settings) -> Predictor | OneShot:
        if entry.kind == "image" and prepared is None:
            version = version_without_files(entry)
            return TextRecognition(entry.name, version, sandbox, loop, settings.documents.limits)
        return load(entry, prepared, settings)

    return load_any
