"""Puts together what reads, finds and recognises: a library over the uploads, and the models that it needs."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

from service.document_settings import DocumentSettings
from service.models.config import ModelEntry, first_of_kind, pull_command
from service.models.fleet import Fleet
from service.models.layout import ModelKind
from service.models.on_demand import OnDemand
from service.models.store import ModelStore, PreparedModel
from service.predictors.embedder import FleetEmbedder
from service.predictors.image import ImageClassifier, OnDemandClassifier, load_classifier
from service.predictors.picture import PictureModel
from service.predictors.recognition import TextRecognition
from service.settings import MIB, Settings
from service.storage import Storage
from streaming.errors import EngineDown
from uploads.documents import transport
from uploads.documents.limits import DocumentLimits
from uploads.documents.pieces import PieceSize
from uploads.library import Library, LibraryParts
from uploads.sandbox import Bounds, Sandbox
from uploads.search_routes import SearchBackend

if TYPE_CHECKING:
    from service.predictors.embedding import EmbeddingModel

_log = logging.getLogger("headwater.models")


@asynccontextmanager
async def open_library(settings: Settings, storage: Storage, fleet: Fleet) -> AsyncIterator[Library]:
    """Opens no model: the first request that needs one does."""
    given = settings.documents
    embedder = FleetEmbedder(partial(find_embedding, fleet))
    try:
        async with open_sandbox(given) as sandbox, open_sandbox(given, transport.WARM_UP) as recognition:
            parts = LibraryParts(storage.uploads, sandbox, recognition, embedder, storage.index)
            size = PieceSize(given.piece_word_pieces, given.piece_overlap_word_pieces)
            yield Library(parts, document_limits(given), size)
    finally:
        embedder.close()


async def find_embedding(fleet: Fleet) -> "EmbeddingModel":
    return cast("EmbeddingModel", await fleet.one_shot(fleet.name_of_kind("embedding")))


def prepared_model(settings: Settings, kind: ModelKind) -> tuple[ModelEntry, PreparedModel]:
    """Raises `EngineDown` in words for a client; the log says what the operator can do."""
    entry = first_of_kind(settings.models, kind)
    if entry is None:
        raise EngineDown(f"There is no model of kind {kind}.")
    prepared = ModelStore(settings.models_dir).prepared(entry)
    if prepared is None:
        _log.error("model %s is not here: run `%s`", entry.name, pull_command(settings.models, entry.name))
        raise EngineDown(f"The model {entry.name} is not here yet; whoever runs the service has to fetch it.")
    return entry, prepared


def open_search_backend(settings: Settings, library: Library) -> SearchBackend:
    given = settings.documents
    return SearchBackend(library, given.max_query_chars, given.max_top_k, given.max_upload_ids)


@asynccontextmanager
async def open_picture_model(settings: Settings, library: Library) -> AsyncIterator[PictureModel]:
    """The configured classifier, else text recognition, which brings its own model and shares it with the library."""
    limits = document_limits(settings.documents)
    if first_of_kind(settings.models, "image") is None:
        yield TextRecognition(library.recognition, limits)
        return
    classifier = OnDemandClassifier(image_model(settings), limits)
    try:
        yield classifier
    finally:
        classifier.close()


def image_model(settings: Settings) -> OnDemand[ImageClassifier]:
    def open_model() -> ImageClassifier:
        entry, prepared = prepared_model(settings, "image")
        return load_classifier(prepared.path, name=entry.name, version=prepared.version)

    return OnDemand("image", open_model, settings.model_patience_s)


@asynccontextmanager
async def open_sandbox(given: DocumentSettings, preload: str | None = None) -> AsyncIterator[Sandbox]:
    """Starts no process: the first file does."""
    bounds = Bounds(given.parse_timeout_s, given.parse_cpu_s, given.parse_memory_mib * MIB)
    idle_s = given.recognition_idle_s if preload else None
    sandbox = Sandbox(bounds, given.parse_processes, preload=preload, idle_s=idle_s)
    try:
        yield sandbox
    finally:
        await sandbox.close()


def document_limits(given: DocumentSettings) -> DocumentLimits:
    return DocumentLimits(
        max_pages=given.max_pages,
        max_characters=given.max_characters,
        max_rows=given.max_rows,
        max_pixels=given.max_pixels,
        max_depth=given.max_depth,
        max_unpacked_bytes=given.max_unpacked_bytes,
        max_recognised_pages=given.max_recognised_pages,
    )
