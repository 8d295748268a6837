"""The models of the service, from their entries in models.toml to what answers: who loads them, and when."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from service.models.config import ModelEntry, served_models
from service.models.layout import ModelKind
from service.models.loaders import ECHO_ENTRY, Load, load_model
from service.models.opening import Opening
from service.models.registry import Failure, LoadedLanguage, Model, Registry
from service.models.thread import in_daemon_thread
from service.predictors.predictor import OneShot
from service.settings import Settings
from streaming.engine import Engine
from streaming.errors import UnknownModel
from streaming.predictor import Predictor

RETRY_AFTER_FAILURE_S = 10.0  # somebody may have pulled it meanwhile
_log = logging.getLogger("headwater.models")


def entries_of(settings: Settings) -> dict[str, ModelEntry]:
    """The models that are served. Raises `ModelsError`. The echo engine needs no entry."""
    served = served_models(settings.models)
    if settings.engine == "torch":
        return served
    others = {name: entry for name, entry in served.items() if entry.kind != "language"}
    return {**others, ECHO_ENTRY.name: ECHO_ENTRY}


class Fleet:
    """Used on one event loop, which it never blocks."""

    def __init__(self, settings: Settings, entries: Mapping[str, ModelEntry], load: Load = load_model) -> None:
        self._settings = settings
        self._entries = entries
        self._open = Opening(settings, load)
        self.registry = Registry(model_of(entry) for entry in self._entries.values())
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    def start(self) -> None:
        """Loads, one after the other, what has to be there from the start."""
        for name, entry in self._entries.items():
            if entry.loads_at_start:
                self._begin(name)

    def language(self, name: str) -> Predictor:
        """Raises `UnknownModel`, `WrongKind`, `EngineLoading` or `EngineDown`. One that waits for its first use is
        loaded from now on."""
        model = self.registry.find(name)
        if model.kind == "language" and is_to_be_loaded(model):
            self._begin(name)
        return self.registry.language(name)

    async def one_shot(self, name: str) -> OneShot:
        """Raises `UnknownModel`, `WrongKind`, `EngineLoading` or `EngineDown`. One that waits for its first use is
        loaded, and waited for as long as the settings say."""
        model = self.registry.find(name)
        if model.kind != "language" and model.loaded is None:
            await self._wait_for(model)
        return self.registry.one_shot(name)

    def name_of_kind(self, kind: ModelKind) -> str:
        """That of the first model of this kind. Raises `UnknownModel`."""
        for name, entry in self._entries.items():
            if entry.kind == kind:
                return name
        raise UnknownModel(f"There is no model of kind {kind}.")

    @property
    def engines(self) -> list[Engine]:
        loaded = [model.loaded for model in self.registry.models.values()]
        return [one.predictor.engine for one in loaded if isinstance(one, LoadedLanguage)]

    async def close(self, grace_s: float) -> None:
        """Closing an engine waits for what it runs, so each is closed in a thread of its own."""
        for task in self._loads.values():
            task.cancel()
        await asyncio.gather(*(asyncio.to_thread(engine.close, grace_s) for engine in self.engines))

    async def _wait_for(self, model: Model) -> None:
        """Others wait for the same load, so whoever leaves does not end it."""
        if is_to_be_loaded(model):
            self._begin(model.name)
        if (task := self._loads.get(model.name)) is None:
            return
        await asyncio.wait([task], timeout=self._settings.model_patience_s)

    def _begin(self, name: str) -> None:
        if name in self._loads:
            return
        self.registry.put(replace(self.registry.find(name), is_loading=True))
        task = asyncio.get_running_loop().create_task(self._load(self._entries[name]))
        self._loads[name] = task
        task.add_done_callback(lambda _: self._loads.pop(name))

    async def _load(self, entry: ModelEntry) -> None:
        async with self._turn:
            outcome = await in_daemon_thread(partial(self._open, entry))
        model = replace(self.registry.find(entry.name), is_loading=False)
        if isinstance(outcome, Failure):
            self.registry.put(replace(model, failure=outcome))
        else:
            self.registry.put(replace(model, failure=None, loaded=outcome))


def model_of(entry: ModelEntry) -> Model:
    return Model(entry.name, entry.kind, is_awaited=entry.loads_at_start, is_loading=entry.loads_at_start)


def is_to_be_loaded(model: Model) -> bool:
    """When somebody asks for it. A failure is not tried again at once, and one at the start not at all."""
    if model.loaded is not None or model.is_loading:
        return False
    if model.failure is None:
        return True
    return not model.is_awaited and time.time() >= model.failure.at + RETRY_AFTER_FAILURE_S
