"""Opens one model: its prepared copy is found, loaded and measured. What goes wrong becomes a failure in words."""

import gc
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from service.models.config import ModelEntry, pull_command
from service.models.errors import ModelsError
from service.models.loaders import Load
from service.models.registry import Failure, Loaded, LoadedLanguage, LoadedOneShot
from service.models.store import ModelStore, PreparedModel
from service.predictors.predictor import OneShot
from service.settings import MIB, Settings
from streaming.errors import EngineDown, StreamingError
from streaming.predictor import Predictor

_log = logging.getLogger("headwater.models")


@dataclass(frozen=True, slots=True)
class Opening:
    """Blocks, so it is called in a thread."""

    settings: Settings
    load: Load

    def __call__(self, entry: ModelEntry) -> Loaded | Failure:
        began = time.monotonic()
        try:
            with without_garbage_collection():
                loaded = self._load(entry)
        except (StreamingError, ModelsError) as error:
            _log.error("model %s is not loaded: %s", entry.name, error.message)
            return Failure(error.code, error.message, time.time())
        except Exception:  # noqa: BLE001  a model that breaks while it loads must not take the service along
            _log.exception("model %s is not loaded", entry.name)
            message = f"The model {entry.name} could not be loaded; the service's log says why."
            return Failure(EngineDown.code, message, time.time())
        _log.info("model %s is ready, version %s, %.1f s", entry.name, loaded.version, time.monotonic() - began)
        return loaded

    def _load(self, entry: ModelEntry) -> Loaded:
        prepared = self._prepared(entry)
        model = self.load(entry, prepared, self.settings)
        if entry.kind == "language":
            held = language_bytes(prepared, self.settings)
            return LoadedLanguage(cast(Predictor, model), time.time(), held)
        one_shot = cast(OneShot, model)
        return LoadedOneShot(one_shot, time.time(), one_shot.size_bytes)

    def _prepared(self, entry: ModelEntry) -> PreparedModel | None:
        """Raises `EngineDown` in words for a client; the log says what the operator can do."""
        if not entry.references:
            return None
        prepared = ModelStore(self.settings.models_dir).prepared(entry)
        if prepared is None:
            _log.error("model %s is not here: run `%s`", entry.name, pull_command(self.settings.models, entry.name))
            raise EngineDown(f"The model {entry.name} is not here yet; whoever runs the service has to fetch it.")
        return prepared


def language_bytes(prepared: PreparedModel | None, settings: Settings) -> int:
    """Its weights and the cache for what it reads and writes."""
    return 0 if prepared is None else prepared.manifest.size_bytes + settings.kv_cache_mib * MIB


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Loading makes a million objects that stay; searching them for garbage takes a quarter of the time to ready.

    Freezing them afterwards also keeps later collections, which stop every stream, short.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
