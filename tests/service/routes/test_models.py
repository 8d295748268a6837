"""`/models` of a running server: what is told, and a reload under load, which drops nothing."""

import asyncio
import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.models.config import ModelEntry
from service.models.loaders import load_echo
from service.models.store import PreparedModel
from service.settings import Settings
from streaming.engines.echo import EchoPredictor
from streaming.errors import EngineDown
from streaming.predictor import Predictor
from tests.server import RunningServer, echo_settings, server_process, serving, wait_until
from tests.service.metrics.scrape import scrape

DEADLINE_S = 60.0
STREAMS = 50
RELOADS = 5
WORDS = " ".join(f"w{number}" for number in range(40))


@dataclass
class Versions:
    """Every load of the echo engine is another version, unless it is told to fail."""

    loaded: list[str] = field(default_factory=list)
    error: Exception | None = None
    may_load: threading.Event = field(default_factory=threading.Event)

    def __call__(self, entry: ModelEntry, prepared: PreparedModel | None, settings: Settings) -> Predictor:
        assert self.may_load.wait(DEADLINE_S)
        if self.error is not None:
            raise self.error
        self.loaded.append(f"echo-{len(self.loaded) + 1}")
        echo = load_echo(settings)
        assert isinstance(echo, EchoPredictor)
        return replace(echo, version=self.loaded[-1])


@pytest.fixture
def versions() -> Versions:
    versions = Versions()
    versions.may_load.set()
    return versions


@pytest.fixture
def server(versions: Versions) -> Iterator[RunningServer]:
    settings = echo_settings(max_running=STREAMS, max_waiting=4 * STREAMS)
    with serving(settings, lambda app: setattr(app.state, "load", versions)) as running:
        yield running


def model(server: RunningServer, name: str = "default") -> dict[str, Any]:
    answer = httpx.get(f"{server.url}/models/{name}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_models_of_every_kind_are_told_with_how_to_ask_them(server: RunningServer) -> None:
    listed = {one["name"]: one for one in httpx.get(f"{server.url}/models").json()["models"]}
    assert (listed["default"]["task"], listed["default"]["state"]) == ("language", "ready")
    assert (listed["embeddings"]["task"], listed["embeddings"]["state"]) == ("embedding", "unloaded")
    told = model(server)
    assert told["version"] == "echo-1"
    assert "text" in told["input_schema"]["properties"]
    assert "prediction" in told["output_schema"]["properties"]
    assert told["loaded_at"].endswith("Z")
    assert httpx.get(f"{server.url}/models/none").json()["code"] == "unknown_model"


def test_a_reload_is_accepted_and_then_switches(server: RunningServer) -> None:
    answer = httpx.post(f"{server.url}/models/default/reload")
    assert (answer.status_code, answer.json()["url"]) == (202, "/models/default")
    wait_until(lambda: model(server)["version"] == "echo-2", DEADLINE_S, "the new version answers")
    assert model(server)["previous_version"] == "echo-1"
    assert httpx.post(f"{server.url}/predict", json={"text": "x"}).json()["model_version"] == "echo-2"
    unknown = httpx.post(f"{server.url}/models/default/reload", json={"version": "0" * 12})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_version")
    assert httpx.post(f"{server.url}/models/default/reload", json={"version": "../x"}).status_code == 422
    assert httpx.post(f"{server.url}/models/none/reload").status_code == 404


def test_a_reload_that_fails_keeps_the_service_ready_and_is_told_everywhere(
    server: RunningServer, versions: Versions
) -> None:
    versions.error = EngineDown("The file is corrupt.")
    assert httpx.post(f"{server.url}/models/default/reload").status_code == 202
    wait_until(lambda: model(server)["failure"], DEADLINE_S, "the failure is told")
    told = model(server)
    assert (told["state"], told["version"], told["failure"]["message"]) == ("ready", "echo-1", "The file is corrupt.")
    ready = httpx.get(f"{server.url}/readyz")
    assert (ready.status_code, ready.json()["notes"]) == (200, ["model default was not reloaded: The file is corrupt."])
    metrics = scrape(server.url)
    assert metrics.value("model_reloads_total", outcome="failed") == 1
    assert httpx.post(f"{server.url}/predict", json={"text": "x"}).json()["prediction"] == "x"


def test_sighup_reloads_what_is_loaded(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        url = f"http://127.0.0.1:{server.port}/models/default"
        wait_until(lambda: httpx.get(url).json()["state"] == "ready", DEADLINE_S, "the model is loaded")
        before = httpx.get(url).json()["loaded_at"]
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: httpx.get(url).json()["loaded_at"] != before, DEADLINE_S, "it is loaded again")
        assert httpx.post(f"http://127.0.0.1:{server.port}/predict", json={"text": "x"}).json()["prediction"] == "x"


async def streamed(client: httpx.AsyncClient) -> str:
    """The version that made a whole answer."""
    events = []
    async with client.stream(
        "GET", "/chat/stream", params={"prompt": WORDS}, headers={"accept": "application/x-ndjson"}
    ) as answer:
        assert answer.status_code == 200, await answer.aread()
        async for line in answer.aiter_lines():
            events.append(json.loads(line))
    return check(events)


def check(events: list[dict[str, Any]]) -> str:
    assert "".join(event["data"].get("text", "") for event in events) == WORDS
    assert (events[-1]["event"], events[-1]["data"]["finish_reason"]) == ("end", "stop")
    return str(events[0]["data"]["model_version"])


async def predicted(client: httpx.AsyncClient) -> str:
    answer = await client.post("/predict", json={"text": "one two"})
    assert (answer.status_code, answer.json()["prediction"]) == (200, "one two"), answer.text
    return str(answer.json()["model_version"])


async def test_reloads_under_load_drop_nothing(server: RunningServer, versions: Versions) -> None:
    """E6 at a small size: bench/reload.py has the full one."""
    done = asyncio.Event()
    answered: list[str] = []
    limits = httpx.Limits(max_connections=None)

    async def ask(work: Any, client: httpx.AsyncClient) -> None:
        while not done.is_set():
            answered.append(await work(client))

    async with httpx.AsyncClient(base_url=server.url, timeout=DEADLINE_S, limits=limits) as client:
        asking = [asyncio.create_task(ask(streamed, client)) for _ in range(STREAMS)]
        asking.append(asyncio.create_task(ask(predicted, client)))
        for number in range(RELOADS):
            before = len(answered)
            both = await asyncio.gather(*(client.post("/models/default/reload") for _ in range(2)))
            assert {one.status_code for one in both} == {202}
            async with asyncio.timeout(DEADLINE_S):
                while len(versions.loaded) < number + 2 or len(answered) < before + STREAMS:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        done.set()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*asking)
    assert set(answered) >= {versions.loaded[0], versions.loaded[-1]}
    wait_until(lambda: server.call(lambda: len(server.fleet.engines)) == 1, DEADLINE_S, "the old engines are closed")
