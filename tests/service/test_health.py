"""Before and without a model: the process lives, says why it is not ready, and refuses with a reason."""

import threading

import httpx
import pytest

from service.app import create_app
from service.models.config import ModelEntry
from service.models.errors import PrepareFailed
from service.models.loaders import load_echo
from service.models.store import PreparedModel
from service.server import make_server
from service.settings import Settings
from streaming.predictor import Predictor
from tests.server import echo_settings, wait_until

ASKING = (
    ("GET", "/chat/stream?prompt=x"),
    ("POST", "/chat/stream?prompt=x"),
    ("POST", "/chat/streams?prompt=x"),
    ("POST", "/predict/default?text=x"),
)


class SlowLoader:
    """A loader that waits until it may go on, then does what it was told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.may_finish = threading.Event()
        self._error = error

    def __call__(self, entry: ModelEntry, prepared: PreparedModel | None, settings: Settings) -> Predictor:
        self.may_finish.wait(30)
        if self._error:
            raise self._error
        return load_echo(settings)


@pytest.fixture
def loader(request: pytest.FixtureRequest) -> SlowLoader:
    return SlowLoader(getattr(request, "param", None))


@pytest.fixture
def url(loader: SlowLoader):  # type: ignore[no-untyped-def]  # noqa: ANN201  a generator of one address
    settings = echo_settings()
    server = make_server(create_app(settings, loader), settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, 10, "the server listens while the model loads")
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    loader.may_finish.set()
    server.handle_exit(15, None)
    thread.join(10)
    assert not thread.is_alive()


def assert_refused(url: str, code: str, reason: str) -> None:
    for method, path in ASKING:
        answer = httpx.request(method, url + path)
        assert (answer.status_code, answer.json()["code"]) == (503, code)
        assert int(answer.headers["retry-after"]) >= 1
        assert reason in answer.json()["detail"]


def test_while_loading_the_process_lives_and_says_so(loader: SlowLoader, url: str) -> None:
    assert httpx.get(f"{url}/livez").status_code == 200
    ready = httpx.get(f"{url}/readyz")
    assert (ready.status_code, ready.json()["code"]) == (503, "model_loading")
    assert ready.json()["reasons"] == ["model default is loading"]
    assert int(ready.headers["retry-after"]) >= 1
    assert httpx.get(f"{url}/health").json()["models"]["default"] == "loading"
    assert_refused(url, "engine_loading", "loading")
    loader.may_finish.set()
    wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200, 5, "it is ready")
    assert httpx.post(f"{url}/predict", json={"text": "one"}).json()["prediction"] == "one"


@pytest.mark.parametrize(
    ("loader", "reason"),
    [
        (PrepareFailed("The model default could not be prepared."), "could not be prepared"),
        (RuntimeError("secret of a library"), "could not be loaded"),
    ],
    indirect=["loader"],
)
def test_a_model_that_does_not_load_is_told_with_its_reason(loader: SlowLoader, url: str, reason: str) -> None:
    loader.may_finish.set()
    wait_until(lambda: httpx.get(f"{url}/health").json()["models"]["default"] == "failed", 5, "it failed")
    ready = httpx.get(f"{url}/readyz")
    assert (ready.status_code, ready.json()["code"]) == (503, "model_failed")
    assert reason in ready.json()["reasons"][0]
    assert_refused(url, "engine_down", reason)
    assert httpx.get(f"{url}/livez").status_code == 200
    assert "secret" not in ready.text
