"""Opens one model: finds or fetches its prepared copy, loads it, asks a one-shot model its self-test. Blocks."""

import gc
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from service.models.config import ModelEntry, pull_command
from service.models.errors import FetchFailed, LoadRefused, ModelsError
from service.models.identity import version_without_files
from service.models.layout import ModelKind
from service.models.loaders import Load
from service.models.memory import estimated_bytes, in_maps_of_its_own
from service.models.registry import Failure, Loaded, LoadedLanguage, LoadedOneShot
from service.models.self_test import check_one_shot
from service.models.store import ModelStore, PreparedModel
from service.predictors.predictor import OneShot
from service.settings import Settings
from streaming.errors import EngineDown, StreamingError
from streaming.predictor import Predictor

_log = logging.getLogger("headwater.models")


@dataclass(frozen=True, slots=True)
class Opening:
    """Called in threads, one load at a time. Everything raises `ModelsError` or `StreamingError`."""

    settings: Settings
    load: Load
    _opened: set[ModelKind] = field(default_factory=set)

    @property
    def store(self) -> ModelStore:
        return ModelStore(self.settings.models_dir)

    def find(self, entry: ModelEntry, version: str | None = None) -> PreparedModel | None:
        """What is here already; None for an entry without a source. What is missing is told to the operator."""
        if not entry.references:
            return None
        found = self.store.prepared(entry) if version is None else self.versions(entry).get(version)
        if found is None and version is None:
            _log.error("model %s is not here: run `%s`", entry.name, pull_command(self.settings.models, entry.name))
            raise EngineDown(f"The model {entry.name} is not here yet; whoever runs the service has to fetch it.")
        if found is None:
            raise EngineDown(f"Version {version} of the model {entry.name}, which is pinned, is not here any more.")
        return found

    def versions(self, entry: ModelEntry) -> dict[str, PreparedModel]:
        """The prepared copies, the newest last."""
        return {one.version: one for one in self.store.versions(entry)}

    def newest_version(self, entry: ModelEntry) -> str:
        return self.store.newest_version(entry) if entry.references else version_without_files(entry)

    def fetch(self, entry: ModelEntry) -> PreparedModel | None:
        return self.store.pull(entry) if entry.references else None

    def open(self, entry: ModelEntry, prepared: PreparedModel | None) -> Loaded:
        began = time.monotonic()
        if entry.kind in self._opened:
            loaded = self._open(entry, prepared)
        else:
            with without_garbage_collection():
                loaded = self._open(entry, prepared)
            self._opened.add(entry.kind)
        _log.info("model %s is loaded, version %s, %.1f s", entry.name, loaded.version, time.monotonic() - began)
        return loaded

    def _open(self, entry: ModelEntry, prepared: PreparedModel | None) -> Loaded:
        with in_maps_of_its_own():
            model = self.load(entry, prepared, self.settings)
        if entry.kind == "language":
            size_bytes = estimated_bytes(entry, prepared, self.settings)
            return LoadedLanguage(cast(Predictor, model), time.time(), size_bytes)
        one_shot = cast(OneShot, model)
        check_one_shot(one_shot, entry.self_test)
        return LoadedOneShot(one_shot, time.time(), one_shot.size_bytes)


def failure_of(error: Exception, name: str, version: str | None) -> Failure:
    """In words for whoever asks for the model. The log has the operator's, which may name paths and addresses."""
    match error:
        case StreamingError() | LoadRefused():
            _log.error("model %s is not loaded: %s", name, error.message)
            return Failure(error.code, error.message, time.time(), version)
        case ModelsError():
            _log.error("model %s is not loaded: %s", name, error.message)
            what = "fetched" if isinstance(error, FetchFailed) else "prepared"
            told = f"The model {name} could not be {what} ({error.code}); the service's log says why."
            return Failure(error.code, told, time.time(), version)
    _log.error("model %s is not loaded", name, exc_info=error)
    told = f"The model {name} could not be loaded; the service's log says why."
    return Failure(EngineDown.code, told, time.time(), version)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """The first load of a kind makes a million objects that stay: libraries, above all. Searching them for garbage
    takes a quarter of the time to ready.

    Freezing them afterwards also keeps later collections, which stop every stream, short.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
