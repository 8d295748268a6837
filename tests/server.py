"""A real server on a free port of this machine: in a thread, where tests may look inside, or as a process."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from service.app import create_app
from service.models.fleet import Fleet
from service.models.registry import LoadedLanguage
from service.server import Server, make_server
from service.settings import Settings
from streaming.backend import Backend
from streaming.engine import Engine
from streaming.streams import Streams

Result = TypeVar("Result")
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
ROOT = Path(__file__).parent.parent


def wait_until(condition: Callable[[], object], within_s: float, what: str) -> None:
    """Fails when the condition does not hold within the deadline."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.005)


def echo_settings(**given: Any) -> Settings:
    fixed = {
        "engine": "echo",
        "host": "127.0.0.1",
        "port": 0,
        "shutdown_grace_s": 0,
        "echo": {"tokens_per_second": 200},
    }
    return Settings(_env_file=None, **{**fixed, **given})


@dataclass(frozen=True)
class RunningServer:
    """What runs in the server's thread may be looked at from here; `call` asks on its loop."""

    uvicorn: Server
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.uvicorn.lifespan.state
        return state

    @property
    def streams(self) -> Streams:
        backend: Backend = self.state["backend"]
        return backend.streams

    @property
    def engine(self) -> Engine:
        loaded = self.fleet.registry.models["default"].loaded
        assert isinstance(loaded, LoadedLanguage)
        return loaded.predictor.engine

    @property
    def fleet(self) -> Fleet:
        fleet: Fleet = self.state["fleet"]
        return fleet

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self.uvicorn.servers[0].get_loop()

    def call(self, function: Callable[[], Result]) -> Result:
        async def answer() -> Result:
            return function()

        return asyncio.run_coroutine_threadsafe(answer(), self.loop).result(START_TIMEOUT_S)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(START_TIMEOUT_S)

    def tasks(self) -> int:
        return self.call(lambda: len(asyncio.all_tasks()))

    def is_idle(self) -> bool:
        load = self.engine.load
        return load.running == load.waiting == self.streams.readers == 0


@contextmanager
def serving(
    settings: Settings | None = None, prepare: Callable[[Any], None] = lambda app: None
) -> Iterator[RunningServer]:
    """`prepare` may add routes to the app before it starts."""
    settings = settings or echo_settings()
    with TemporaryDirectory(prefix="headwater-data-") as folder:
        if "data_dir" not in settings.model_fields_set:
            settings = settings.model_copy(update={"data_dir": Path(folder)})
        yield from run(settings, prepare)


def run(settings: Settings, prepare: Callable[[Any], None]) -> Iterator[RunningServer]:
    app = create_app(settings)
    prepare(app)
    server = make_server(app, settings)
    thread = threading.Thread(target=server.run, name="test-server", daemon=True)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive(), START_TIMEOUT_S, "the server has started")
    assert server.started
    running = RunningServer(server, server.servers[0].sockets[0].getsockname()[1])
    models = running.fleet.registry
    wait_until(lambda: models.find("default").state == "ready", START_TIMEOUT_S, "the model is loaded")
    try:
        yield running
    finally:
        server.handle_exit(signal.SIGTERM, None)
        thread.join(STOP_TIMEOUT_S)
        assert not thread.is_alive(), "the server did not stop"


MAIN = (
    "from service.server import run; from service.settings_load import load_settings; "
    "raise SystemExit(run(load_settings()))"
)


@dataclass(frozen=True)
class ServerProcess:
    process: "subprocess.Popen[bytes]"
    port: int
    log: Path


@contextmanager
def server_process(folder: Path, **settings: object) -> Iterator[ServerProcess]:
    """`folder` is where it is started and where its log goes."""
    log = folder / "server.log"
    chosen = {"engine": "echo", "port": 0, "log_format": "text", **settings}
    environment = {f"HEADWATER_{name.upper()}": str(value) for name, value in chosen.items()}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN],
            cwd=folder,
            env={**clean, **environment, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: announced_port(log) or process.poll() is not None, START_TIMEOUT_S, "the server listens")
        port = announced_port(log)
        assert port, log.read_text()
        yield ServerProcess(process, port, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def announced_port(log: Path) -> int:
    found = re.search(r"running on http://127\.0\.0\.1:(\d+)", log.read_text())
    return int(found[1]) if found else 0
