"""Another version of a model, loaded beside the one that answers: what is switched, what is kept, what is refused."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from service.models.config import ModelEntry, SelfTest
from service.models.errors import ReloadRunning, UnknownVersion
from service.models.fleet import Fleet
from service.models.layout import ModelKind
from service.models.loaders import load_echo
from service.models.reference import Reference
from service.models.registry import LoadedLanguage
from service.models.store import ModelStore, PreparedModel
from service.predictors.predictor import OneShot
from service.settings import Settings
from streaming.collect import collect
from streaming.engines.echo import EchoPredictor
from streaming.errors import EngineDown
from streaming.logs.memory import MemoryLog, Waker
from streaming.predictor import Message, Predictor, TextRequest
from tests.server import echo_settings
from tests.service.models.doubling import Doubling

DEADLINE_S = 60.0


@dataclass
class Bench:
    """Loads what the files of an entry say: how much a `Doubling` adds, or how an echo answers."""

    settings: Settings
    source: Path
    loads: list[str] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    may_load: threading.Event = field(default_factory=threading.Event)

    def entry(self, kind: ModelKind, **more: Any) -> ModelEntry:
        """A `file:` source of which every write is another version."""
        reference = Reference("file", str(self.source))
        return ModelEntry.model_construct(
            name="m", kind=kind, references=(reference,), self_test=more.pop("self_test", ()), **more
        )

    def write(self, content: str) -> None:
        self.source.mkdir(exist_ok=True)
        (self.source / "config.json").write_text('{"dtype": "float32"}')
        (self.source / "tokenizer.json").write_text("{}")
        (self.source / "model.safetensors").write_text(content)

    def __call__(self, entry: ModelEntry, prepared: PreparedModel | None, settings: Settings) -> Predictor | OneShot:
        assert prepared is not None
        self.loads.append(prepared.version)
        assert self.may_load.wait(DEADLINE_S)
        content = (prepared.path / "model.safetensors").read_text()
        if content == "corrupt":
            raise EngineDown("The file is corrupt.")
        if entry.kind == "language":
            echo = load_echo(settings)
            assert isinstance(echo, EchoPredictor)
            return replace(echo, name=entry.name, version=prepared.version)
        return Doubling(entry.name, prepared.version, float(content), size_bytes=len(content))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    settings = echo_settings(models_dir=tmp_path / "models", data_dir=tmp_path / "data")
    bench = Bench(settings, tmp_path / "source")
    bench.may_load.set()
    bench.write("1")
    return bench


@asynccontextmanager
async def serving(bench: Bench, entry: ModelEntry, **settings: Any) -> AsyncIterator[Fleet]:
    await asyncio.to_thread(ModelStore(bench.settings.models_dir).pull, entry)
    given = bench.settings.model_copy(update=settings)
    fleet = Fleet(given, lambda: {entry.name: entry}, bench, bench.outcomes.append)
    fleet.start()
    await wait_for(lambda: fleet.registry.find("m").state == ("ready" if entry.loads_at_start else "unloaded"))
    try:
        yield fleet
    finally:
        bench.may_load.set()
        await fleet.close(0)


async def wait_for(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  a registry tells nobody of its changes
            await asyncio.sleep(0.005)


async def reload(fleet: Fleet, version: str | None = None) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.wait([await fleet.reload("m", version)])


async def doubled(fleet: Fleet) -> Any:
    model = await fleet.one_shot("m")
    return model.predict([model.read({"number": 1})])[0]["doubled"]


async def test_a_new_version_is_loaded_beside_the_old_one_and_whoever_holds_the_old_one_keeps_it(bench: Bench) -> None:
    async with serving(bench, bench.entry("embedding")) as fleet:
        old = await fleet.one_shot("m")
        bench.write("20")
        bench.may_load.clear()
        running = await fleet.reload("m")
        await wait_for(lambda: len(bench.loads) == 2)
        assert await doubled(fleet) == 3, "the old one answers while the new one loads"
        assert fleet.registry.find("m").state == "ready"
        bench.may_load.set()
        await running
        assert await doubled(fleet) == 22
        assert old.predict([1.0]) == [{"doubled": 3.0}]
        model = fleet.registry.find("m")
        assert model.previous_version == old.version
        assert model.loaded is not None
        assert model.loaded.version != old.version


async def test_without_a_new_version_nothing_is_loaded(bench: Bench) -> None:
    async with serving(bench, bench.entry("embedding")) as fleet:
        await doubled(fleet)
        await reload(fleet)
        assert len(bench.loads) == 1
        assert bench.outcomes == ["unchanged"]


async def broken(bench: Bench) -> None:
    bench.write("corrupt")


async def gone(bench: Bench) -> None:
    for file in bench.source.iterdir():
        file.unlink()


async def wrong(bench: Bench) -> None:
    bench.write("7")


@pytest.mark.parametrize(
    ("spoil", "code"), [(broken, "engine_down"), (gone, "not_at_source"), (wrong, "self_test_failed")]
)
async def test_what_cannot_be_loaded_leaves_the_old_one_answering_and_says_so(
    bench: Bench, spoil: Callable[[Bench], Any], code: str
) -> None:
    test = SelfTest(input={"number": 1}, output={"doubled": 3.0})
    async with serving(bench, bench.entry("embedding", self_test=(test,))) as fleet:
        assert await doubled(fleet) == 3
        await spoil(bench)
        await reload(fleet)
        model = fleet.registry.find("m")
        assert model.failure is not None
        assert (model.state, model.failure.code) == ("ready", code)
        assert await doubled(fleet) == 3
        bench.write("1")
        await reload(fleet)
        assert fleet.registry.find("m").failure is None
        assert bench.outcomes == ["failed", "loaded"]


async def test_two_reloads_at_once_are_one_load_and_another_version_is_refused(bench: Bench) -> None:
    async with serving(bench, bench.entry("embedding")) as fleet:
        first = (await fleet.one_shot("m")).version
        bench.write("2")
        bench.may_load.clear()
        tasks = await asyncio.gather(*(fleet.reload("m") for _ in range(5)))
        with pytest.raises(ReloadRunning):
            await fleet.reload("m", first)
        with pytest.raises(UnknownVersion):
            await fleet.reload("m", "0" * 12)
        bench.may_load.set()
        assert len(set(tasks)) == 1
        await tasks[0]
        assert len(bench.loads) == 2


async def test_a_reload_is_refused_while_what_is_here_already_is_loaded(bench: Bench) -> None:
    async with serving(bench, bench.entry("embedding")) as fleet:
        bench.may_load.clear()
        asked = asyncio.create_task(doubled(fleet))
        await wait_for(lambda: bench.loads)
        with pytest.raises(ReloadRunning):
            await fleet.reload("m")
        bench.may_load.set()
        assert await asked == 3
        bench.write("2")
        await reload(fleet)
        assert await doubled(fleet) == 4


async def test_a_named_version_is_pinned_over_a_restart_and_a_reload_without_one_takes_the_pin_away(
    bench: Bench,
) -> None:
    entry = bench.entry("embedding")
    async with serving(bench, entry) as fleet:
        first = (await fleet.one_shot("m")).version
        bench.write("2")
        await reload(fleet)
        assert await doubled(fleet) == 4
        assert len(await fleet.versions("m")) == 2
        await reload(fleet, first)
        assert await doubled(fleet) == 3
        assert fleet.registry.find("m").pinned_version == first
        await wait_for((bench.settings.data_dir / "model-pins.json").exists)
    async with serving(bench, entry) as fleet:
        assert await doubled(fleet) == 3
        await reload(fleet)
        assert await doubled(fleet) == 4
        assert fleet.registry.find("m").pinned_version is None


async def test_a_watched_source_is_loaded_when_it_changes_and_a_bad_one_is_tried_once(bench: Bench) -> None:
    async with serving(bench, bench.entry("embedding", watch_interval_s=0.1)) as fleet:
        assert await doubled(fleet) == 3
        bench.write("corrupt")
        await wait_for(lambda: bench.outcomes.count("failed") == 1)
        await wait_for(lambda: bench.outcomes.count("unchanged") >= 3)
        assert bench.loads[1:] == [bench.loads[-1]], "what has failed is not loaded again"
        assert fleet.registry.find("m").failure is not None
        bench.write("30")
        await wait_for(lambda: "loaded" in bench.outcomes)
        assert await doubled(fleet) == 32


async def test_what_nobody_uses_is_unloaded_and_comes_back(bench: Bench) -> None:
    async with serving(bench, bench.entry("embedding", unload_after_s=0.05)) as fleet:
        assert await doubled(fleet) == 3
        await wait_for(lambda: fleet.registry.find("m").state == "unloaded")
        assert await doubled(fleet) == 3
        assert len(bench.loads) == 2


async def test_what_would_pass_the_limit_is_refused_with_its_reason(bench: Bench) -> None:
    bench.write("1" * (2 << 20))
    async with serving(bench, bench.entry("embedding"), max_models_mib=1) as fleet:
        with pytest.raises(EngineDown, match="of the 1 MiB for all models"):
            await fleet.one_shot("m")


async def test_who_found_the_old_text_model_just_before_the_switch_still_submits_to_it(bench: Bench) -> None:
    async with serving(bench, bench.entry("language")) as fleet:
        found = fleet.language("m")
        old = fleet.registry.find("m").loaded
        assert isinstance(old, LoadedLanguage)
        bench.write("2")
        await reload(fleet)
        assert fleet.language("m").version != found.version
        assert old.predictor.engine in fleet.engines, "it is kept for whoever holds it"
        generation = await found.prepare(TextRequest([Message("user", "one two three")]), "ann")
        log = MemoryLog(Waker(asyncio.get_running_loop()))
        found.engine.submit(generation, log)
        async with asyncio.timeout(DEADLINE_S):
            answer = await collect(log)
        assert (answer.text, generation.model_version) == ("one two three", found.version)
        del found
        await wait_for(lambda: old.predictor.engine.state == "closed")
        await wait_for(lambda: len(fleet.engines) == 1)


async def test_a_text_model_that_does_not_answer_as_its_self_test_wants_is_not_taken(bench: Bench) -> None:
    """The echo says what it is asked."""
    right = bench.entry("language", self_test=(SelfTest(input="all is well", output="well"),))
    async with serving(bench, right) as fleet:
        version = fleet.language("m").version
        wrong = bench.entry("language", self_test=(SelfTest(input="all is well", output="ill"),))
        fleet._read_entries = lambda: {"m": wrong}
        bench.write("2")
        await reload(fleet)
        model = fleet.registry.find("m")
        assert model.failure is not None
        assert "'ill' is not in 'all is well'" in model.failure.message
        assert fleet.language("m").version == version
        assert len(fleet.engines) == 1
