"""When models are loaded, and what those who ask meanwhile are told."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from service.models.config import ModelEntry
from service.models.errors import NotAtSource
from service.models.fleet import Fleet
from service.models.layout import ModelKind
from service.models.loaders import load_echo
from service.models.store import PreparedModel
from service.predictors.errors import WrongKind
from service.predictors.predictor import OneShot
from service.settings import Settings
from streaming.errors import EngineDown, EngineLoading, UnknownModel
from streaming.predictor import Predictor
from tests.server import echo_settings
from tests.service.models.doubling import Doubling

DEADLINE_S = 30.0


@dataclass
class Shelf:
    """Loads echo engines and `Doubling`s when the test says so; counts."""

    may_load: threading.Event = field(default_factory=threading.Event)
    loads: list[str] = field(default_factory=list)
    error: Exception | None = None

    def __call__(self, entry: ModelEntry, prepared: PreparedModel | None, settings: Settings) -> Predictor | OneShot:
        self.loads.append(entry.name)
        assert self.may_load.wait(DEADLINE_S)
        if self.error is not None:
            raise self.error
        return load_echo(settings) if entry.kind == "language" else Doubling(entry.name)


def entry(name: str, kind: ModelKind, **more: Any) -> ModelEntry:
    """Without a source: the shelf has it."""
    return ModelEntry.model_construct(name=name, kind=kind, references=(), **more)


@asynccontextmanager
async def open_fleet(shelf: Shelf, *entries: ModelEntry, **settings: Any) -> AsyncIterator[Fleet]:
    fleet = Fleet(echo_settings(**settings), lambda: {one.name: one for one in entries}, shelf)
    fleet.start()
    try:
        yield fleet
    finally:
        shelf.may_load.set()
        await fleet.close(0)


async def wait_for(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  a registry tells nobody of its changes
            await asyncio.sleep(0.005)


async def test_language_models_load_at_the_start_and_the_others_on_first_use() -> None:
    shelf = Shelf()
    async with open_fleet(shelf, entry("text", "language"), entry("vectors", "embedding")) as fleet:
        assert {name: model.state for name, model in fleet.registry.models.items()} == {
            "text": "loading",
            "vectors": "unloaded",
        }
        with pytest.raises(EngineLoading):
            fleet.language("text")
        shelf.may_load.set()
        await wait_for(lambda: fleet.registry.find("text").state == "ready")
        assert fleet.language("text").version == "echo-1"
        assert shelf.loads == ["text"]
        assert (await fleet.one_shot("vectors")).name == "vectors"
        assert shelf.loads == ["text", "vectors"]


async def test_an_entry_says_when_it_loads() -> None:
    shelf = Shelf()
    shelf.may_load.set()
    entries = entry("text", "language", load="first_use"), entry("vectors", "embedding", load="start")
    async with open_fleet(shelf, *entries) as fleet:
        await wait_for(lambda: fleet.registry.find("vectors").state == "ready")
        assert fleet.registry.find("text").state == "unloaded"
        with pytest.raises(EngineLoading):
            fleet.language("text")
        await wait_for(lambda: fleet.registry.find("text").state == "ready")
        assert fleet.language("text").name == "default"


async def test_many_who_ask_at_once_cause_one_load_and_one_who_leaves_does_not_stop_it() -> None:
    shelf = Shelf()
    async with open_fleet(shelf, entry("vectors", "embedding")) as fleet:
        leaving, *staying = [asyncio.create_task(fleet.one_shot("vectors")) for _ in range(20)]
        await wait_for(lambda: shelf.loads)
        leaving.cancel()
        shelf.may_load.set()
        async with asyncio.timeout(DEADLINE_S):
            found = await asyncio.gather(*staying)
        assert len({id(one) for one in found}) == 1
        assert shelf.loads == ["vectors"]


async def test_who_waits_too_long_is_told_and_the_next_one_finds_it() -> None:
    shelf = Shelf()
    async with open_fleet(shelf, entry("vectors", "embedding"), model_patience_s=0.01) as fleet:
        with pytest.raises(EngineLoading):
            await fleet.one_shot("vectors")
        shelf.may_load.set()
        await wait_for(lambda: fleet.registry.find("vectors").state == "ready")
        assert (await fleet.one_shot("vectors")).name == "vectors"
        assert shelf.loads == ["vectors"]


@pytest.mark.parametrize(
    ("error", "words"),
    [(NotAtSource("/a/path"), "could not be fetched"), (EngineDown("Odd."), "Odd."), (RuntimeError("x"), "log")],
)
async def test_a_failure_is_told_in_words_and_not_tried_again_at_once(error: Exception, words: str) -> None:
    shelf = Shelf(error=error)
    shelf.may_load.set()
    async with open_fleet(shelf, entry("vectors", "embedding")) as fleet:
        for _ in range(5):
            with pytest.raises(EngineDown, match=words):
                await fleet.one_shot("vectors")
        assert shelf.loads == ["vectors"]
        assert fleet.registry.find("vectors").state == "failed"


async def test_a_wrong_kind_is_refused_before_anything_is_loaded() -> None:
    shelf = Shelf()
    entries = entry("text", "language", load="first_use"), entry("vectors", "embedding")
    async with open_fleet(shelf, *entries) as fleet:
        with pytest.raises(WrongKind):
            fleet.language("vectors")
        with pytest.raises(WrongKind):
            await fleet.one_shot("text")
        assert shelf.loads == []


async def test_a_kind_is_served_by_the_first_of_the_list() -> None:
    entries = entry("text", "language", load="first_use"), entry("b", "embedding"), entry("a", "embedding")
    async with open_fleet(Shelf(), *entries) as fleet:
        assert fleet.name_of_kind("embedding") == "b"
        with pytest.raises(UnknownModel):
            fleet.name_of_kind("image")
