"""The models of the service, from their entries in models.toml to what answers: when they are loaded, and for whom."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from service.models.config import ModelEntry, served_models
from service.models.errors import InvalidModels, ModelsError, ReloadRefused, UnknownVersion
from service.models.layout import ModelKind
from service.models.loaders import ECHO_ENTRY, Load, load_model
from service.models.loads import Ask, Loads
from service.models.registry import Model, Registry
from service.models.store import PreparedModel
from service.models.thread import in_daemon_thread
from service.predictors.predictor import OneShot
from service.settings import Settings
from streaming.engine import Engine
from streaming.errors import UnknownModel
from streaming.predictor import Predictor

RETRY_AFTER_FAILURE_S = 10.0  # somebody may have pulled it meanwhile
LOOK_INTERVAL_S = 1.0  # at what nobody has used for long
_log = logging.getLogger("headwater.models")


def entries_of(settings: Settings) -> dict[str, ModelEntry]:
    """The models that are served. Raises `ModelsError`. The echo engine needs no entry."""
    served = served_models(settings.models)
    if settings.engine == "torch":
        return served
    others = {name: entry for name, entry in served.items() if entry.kind != "language"}
    return {**others, ECHO_ENTRY.name: ECHO_ENTRY}


def ignore(_outcome: str) -> None:
    pass


class Fleet:
    """Used on one event loop, which it never blocks."""

    def __init__(
        self,
        settings: Settings,
        read_entries: Callable[[], Mapping[str, ModelEntry]],
        load: Load = load_model,
        on_reload: Callable[[str], None] = ignore,
    ) -> None:
        """Raises `ModelsError`. `read_entries` is called again before each reload, in a thread."""
        self._settings = settings
        self._read_entries = read_entries
        self._entries = dict(read_entries())
        self.registry = Registry(())
        self._loads = Loads(self.registry, settings, load, on_reload)
        self._tasks: set[asyncio.Task[None]] = set()
        pins = self._loads.pins.load()
        for entry in self._entries.values():
            self.registry.put(replace(model_of(entry), pinned_version=pins.get(entry.name)))

    @property
    def engines(self) -> list[Engine]:
        """Also those of models that were replaced and still answer."""
        return self._loads.engines

    def start(self) -> None:
        """Loads, one after the other, what has to be there from the start; watches what is to be watched."""
        for name, entry in self._entries.items():
            if entry.loads_at_start:
                self._begin(name)
            if entry.watch_interval_s is not None:
                self._spawn(self._watch(name, entry.watch_interval_s))
        self._spawn(self._unload_forever())

    def language(self, name: str) -> Predictor:
        """Raises `UnknownModel`, `WrongKind`, `EngineLoading` or `EngineDown`. One that waits for its first use is
        loaded from now on."""
        model = self.registry.find(name)
        if model.kind == "language":
            self._loads.touch(name)
            if is_to_be_loaded(model):
                self._begin(name)
        return self.registry.language(name)

    async def one_shot(self, name: str) -> OneShot:
        """Raises `UnknownModel`, `WrongKind`, `EngineLoading` or `EngineDown`. One that waits for its first use is
        loaded, and waited for as long as the settings say."""
        model = self.registry.find(name)
        if model.kind != "language":
            self._loads.touch(name)
            if model.loaded is None:
                await self._wait_for(model)
        return self.registry.one_shot(name)

    def kind_of(self, name: str) -> ModelKind:
        """Raises `UnknownModel`."""
        return self.registry.find(name).kind

    def name_of_kind(self, kind: ModelKind) -> str:
        """That of the first model of this kind. Raises `UnknownModel`."""
        for name, entry in self._entries.items():
            if entry.kind == kind:
                return name
        raise UnknownModel(f"There is no model of kind {kind}.")

    async def versions(self, name: str) -> Mapping[str, PreparedModel]:
        """The prepared copies of the model by their versions, the newest last. Raises `UnknownModel`."""
        self.registry.find(name)
        return await asyncio.to_thread(self._loads.opening.versions, self._entries[name])

    async def reload(self, name: str, version: str | None = None) -> "asyncio.Task[None]":
        """Begins to load the newest version, or pins the one that is named; how it went is in the registry then.

        Raises `UnknownModel`, `UnknownVersion`, `ReloadRunning`; `ReloadRefused` for what models.toml says now.
        """
        model = self.registry.find(name)
        entry = (await self._read_anew()).get(name, self._entries[name])
        if entry.kind != model.kind:
            raise ReloadRefused(f"The model {name} is of kind {entry.kind} now; that takes a restart of the service.")
        if version is not None and version not in await in_daemon_thread(partial(self._loads.opening.versions, entry)):
            raise UnknownVersion(f"The model {name} has no prepared version {version}.")
        self._entries[name] = entry
        return self._loads.begin(entry, Ask(version, is_reload=True))

    async def _read_anew(self) -> Mapping[str, ModelEntry]:
        try:
            return await in_daemon_thread(self._read_entries)
        except InvalidModels as error:
            _log.error("no model is reloaded: %s", error.message)
            raise ReloadRefused("The list of models is broken; the service's log says where.") from error

    async def reload_all(self) -> None:
        """What is loaded, and what failed; what is pinned stays. The log and the registry say how it went."""
        for name, model in self.registry.models.items():
            if model.pinned_version is None and model.state != "unloaded":
                await self._reload_quietly(name)

    def reload_all_soon(self) -> None:
        self._spawn(self.reload_all())

    async def close(self, grace_s: float) -> None:
        for task in self._tasks:
            task.cancel()
        await self._loads.close(grace_s)

    async def _wait_for(self, model: Model) -> None:
        """Others wait for the same load, so whoever leaves does not end it."""
        if is_to_be_loaded(model):
            self._begin(model.name)
        if (task := self._loads.running(model.name)) is not None:
            await asyncio.wait([task], timeout=self._settings.model_patience_s)

    def _begin(self, name: str) -> None:
        self._loads.begin(self._entries[name], Ask(self.registry.find(name).pinned_version))

    async def _reload_quietly(self, name: str) -> None:
        try:
            await asyncio.wait([await self.reload(name)])
        except ModelsError as error:
            _log.error("model %s is not reloaded: %s", name, error.message)

    async def _watch(self, name: str, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            model = self.registry.find(name)
            if model.loaded is not None and model.pinned_version is None and not model.is_loading:
                await asyncio.wait([self._loads.begin(self._entries[name], Ask(is_reload=True, is_watch=True))])

    async def _unload_forever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            for name, entry in self._entries.items():
                model = self.registry.find(name)
                if entry.unload_after_s is None or model.loaded is None or model.is_loading:
                    continue
                if self._loads.unused_s(name) >= entry.unload_after_s:
                    _log.info("model %s is unloaded: nobody has used it for %g s", name, entry.unload_after_s)
                    self._loads.unload(name)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def model_of(entry: ModelEntry) -> Model:
    return Model(entry.name, entry.kind, is_awaited=entry.loads_at_start, is_loading=entry.loads_at_start)


def is_to_be_loaded(model: Model) -> bool:
    """When somebody asks for it. A failure is not tried again at once, and one at the start not at all."""
    if model.loaded is not None or model.is_loading:
        return False
    if model.failure is None:
        return True
    return not model.is_awaited and time.time() >= model.failure.at + RETRY_AFTER_FAILURE_S
