"""Brings models into the registry and takes them out again: one load at a time, and never two for one name."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from service.models.config import ModelEntry
from service.models.errors import InvalidModels, ReloadRunning
from service.models.loaders import Load
from service.models.memory import estimated_bytes, give_memory_back, refuse_excess
from service.models.opening import Opening, failure_of
from service.models.pins import Pins
from service.models.registry import Failure, Loaded, LoadedLanguage, LoadedOneShot, Model, Registry
from service.models.retirement import Retirement
from service.models.self_test import SIGN_OF_LIFE, check_language
from service.models.store import PreparedModel
from service.models.thread import in_daemon_thread
from service.settings import MIB, Settings
from streaming.engine import Engine

RELEASE_AFTER_S = 1.0  # for requests that still compute with what was replaced
_log = logging.getLogger("headwater.models")


@dataclass(frozen=True, slots=True)
class Ask:
    """What a load is to bring. Without a version: with `is_reload` the newest of the source, else what is here.

    `is_watch`: nobody asked, so what has failed once is not tried again.
    """

    version: str | None = None
    is_reload: bool = False
    is_watch: bool = False

    def brings(self, other: "Ask") -> bool:
        """Whether one load is enough for both. What is here already need not be the newest."""
        is_newest_wanted = other.is_reload and other.version is None
        return self.version == other.version and (self.is_reload or not is_newest_wanted)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """`is_answering`: the version is the one that answers. Else it failed before, and is left alone."""

    is_answering: bool


class Loads:
    """Used on one event loop. `on_reload` is told how each reload went: loaded, unchanged or failed."""

    def __init__(self, registry: Registry, settings: Settings, load: Load, on_reload: Callable[[str], None]) -> None:
        self.opening = Opening(settings, load)
        self.pins = Pins(settings.data_dir)
        self._registry = registry
        self._settings = settings
        self._on_reload = on_reload
        self._retirement = Retirement(settings.retire_grace_s)
        self._running: dict[str, tuple[Ask, asyncio.Task[None]]] = {}
        self._used: dict[str, float] = {}
        self._turn = asyncio.Lock()

    @property
    def engines(self) -> list[Engine]:
        """Also those of models that were replaced and still answer."""
        loaded = [model.loaded for model in self._registry.models.values()]
        engines = [one.predictor.engine for one in loaded if isinstance(one, LoadedLanguage)]
        return [*engines, *self._retirement.engines]

    def touch(self, name: str) -> None:
        self._used[name] = time.monotonic()

    def unused_s(self, name: str) -> float:
        """For how long nobody has asked for it; 0 while somebody holds its engine."""
        loaded = self._registry.find(name).loaded
        if isinstance(loaded, LoadedLanguage) and loaded.leases:
            return 0.0
        return time.monotonic() - self._used.get(name, 0.0)

    def running(self, name: str) -> "asyncio.Task[None] | None":
        found = self._running.get(name)
        return None if found is None else found[1]

    def begin(self, entry: ModelEntry, ask: Ask) -> "asyncio.Task[None]":
        """Who asks for what is being loaded already joins. Raises `ReloadRunning`."""
        if entry.name in self._running:
            other, task = self._running[entry.name]
            if not other.brings(ask):
                raise ReloadRunning(f"Another version of the model {entry.name} is being loaded.")
            return task
        self._registry.put(replace(self._registry.find(entry.name), is_loading=True))
        task = asyncio.get_running_loop().create_task(self._run(entry, ask))
        self._running[entry.name] = ask, task
        task.add_done_callback(lambda _: self._running.pop(entry.name))
        return task

    def unload(self, name: str) -> None:
        model = self._registry.find(name)
        self._registry.put(replace(model, loaded=None))
        self._release(name, model.loaded)

    async def close(self, grace_s: float) -> None:
        """Closing an engine waits for what it runs, so each is closed in a thread of its own."""
        self._retirement.cancel()
        for _, task in self._running.values():
            task.cancel()
        await asyncio.gather(*(asyncio.to_thread(engine.close, grace_s) for engine in self.engines))

    async def _run(self, entry: ModelEntry, ask: Ask) -> None:
        version = ask.version
        outcome: Loaded | Unchanged | Failure
        try:
            version = await self._version(entry, ask)
            outcome = self._unchanged(entry, version, ask) or await self._load(entry, await self._find(entry, ask))
        except Exception as error:  # noqa: BLE001  a model that breaks while it loads must not take the service along
            outcome = failure_of(error, entry.name, version)
        self._settle(entry, ask, outcome)

    async def _version(self, entry: ModelEntry, ask: Ask) -> str | None:
        """None where only finding it tells."""
        if ask.version is not None or not ask.is_reload:
            return ask.version
        return await in_daemon_thread(partial(self.opening.newest_version, entry))

    async def _find(self, entry: ModelEntry, ask: Ask) -> PreparedModel | None:
        if ask.version is not None or not ask.is_reload:
            return await in_daemon_thread(partial(self.opening.find, entry, ask.version))
        return await in_daemon_thread(partial(self.opening.fetch, entry))

    def _unchanged(self, entry: ModelEntry, version: str | None, ask: Ask) -> Unchanged | None:
        """What answers already is not loaded again, nor what has failed, unless somebody asks."""
        model = self._registry.find(entry.name)
        if version is None or model.loaded is None:
            return None
        if model.loaded.version == version and not model.loaded.is_broken:
            return Unchanged(is_answering=True)
        has_failed = model.failure is not None and model.failure.version == version
        return Unchanged(is_answering=False) if ask.is_watch and has_failed else None

    async def _load(self, entry: ModelEntry, prepared: PreparedModel | None) -> Loaded:
        async with self._turn:
            self._make_room(entry, prepared)
            loaded = await in_daemon_thread(partial(self.opening.open, entry, prepared))
        if isinstance(loaded, LoadedLanguage):
            await self._check(entry, loaded)
        return loaded

    async def _check(self, entry: ModelEntry, loaded: LoadedLanguage) -> None:
        is_first = self._registry.find(entry.name).loaded is None
        try:
            await check_language(loaded.predictor, entry.self_test if is_first else (SIGN_OF_LIFE, *entry.self_test))
        except BaseException:
            in_daemon_thread(lambda: loaded.predictor.engine.close(0))
            raise

    def _settle(self, entry: ModelEntry, ask: Ask, outcome: Loaded | Unchanged | Failure) -> None:
        """The switch: one reference on the event loop."""
        model = replace(self._registry.find(entry.name), is_loading=False)
        match outcome:
            case Failure():
                self._registry.put(replace(model, failure=outcome))
                if model.loaded is not None:
                    _log.error("model %s goes on with version %s", model.name, model.loaded.version)
            case Unchanged(is_answering=True):
                self._registry.put(replace(model, failure=None, pinned_version=self._pinned(model, ask)))
            case Unchanged():
                self._registry.put(model)
            case _:
                self._switch(replace(model, failure=None, pinned_version=self._pinned(model, ask)), outcome)
        if ask.is_reload:
            self._on_reload(word_of(outcome))

    def _switch(self, model: Model, loaded: Loaded) -> None:
        old = model.loaded
        previous = model.previous_version if old is None else old.version
        self._registry.put(replace(model, loaded=loaded, previous_version=previous))
        self.touch(model.name)
        self._release(model.name, old)
        _log.info("model %s answers with version %s", model.name, loaded.version)

    def _pinned(self, model: Model, ask: Ask) -> str | None:
        """A reload that names a version pins it, one that names none takes the pin away."""
        if not ask.is_reload or ask.version == model.pinned_version:
            return model.pinned_version
        self.pins.change(model.name, ask.version)
        in_daemon_thread(self._save_pins)
        return ask.version

    def _save_pins(self) -> None:
        try:
            self.pins.save()
        except (InvalidModels, OSError) as error:
            _log.error("the pins are not saved, and a restart will not know them: %s", error)

    def _release(self, name: str, old: Loaded | None) -> None:
        if isinstance(old, LoadedLanguage):
            self._retirement.add(name, old)
        elif old is not None:
            asyncio.get_running_loop().call_later(RELEASE_AFTER_S, in_daemon_thread, give_memory_back)

    def _make_room(self, entry: ModelEntry, prepared: PreparedModel | None) -> None:
        """Unloads what is loaded again on its next use, the longest unused first. Raises `NotEnoughMemory`."""
        needed = estimated_bytes(entry, prepared, self._settings)
        most = self._settings.max_models_mib
        if most is None:
            return
        models = self._registry.models.values()
        idle = [one.name for one in models if isinstance(one.loaded, LoadedOneShot) and not one.is_awaited]
        for name in sorted(set(idle) - {entry.name}, key=self.unused_s, reverse=True):
            if needed + self._taken_bytes <= most * MIB:
                return
            _log.info("model %s is unloaded to make room for %s", name, entry.name)
            self.unload(name)
        refuse_excess(entry.name, needed, self._taken_bytes, most)

    @property
    def _taken_bytes(self) -> int:
        loaded = [model.loaded for model in self._registry.models.values() if model.loaded is not None]
        return sum(one.size_bytes for one in loaded) + self._retirement.size_bytes


def word_of(outcome: Loaded | Unchanged | Failure) -> str:
    match outcome:
        case Failure():
            return "failed"
        case Unchanged():
            return "unchanged"
    return "loaded"
