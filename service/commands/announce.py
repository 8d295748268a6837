"""Tells the operator what is being loaded, and where to ask once it is ready. Looks from outside, as a client would."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from typing import cast

from rich.console import Console

from service.models.config import ModelEntry, language_models
from service.models.fleet import entries_of
from service.models.loaders import Load, load_model
from service.models.store import ModelStore, PreparedModel
from service.predictors.predictor import OneShot
from service.settings import Settings
from streaming.predictor import Predictor

POLL_S = 0.2
ANSWER_WITHIN_S = 5
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  to be asked on, not to listen on


class NotingLoader:
    """Loads as the service does, and notes how much each model reads: that is known only once it is loaded."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.context_tokens: dict[str, int] = {}

    def __call__(self, entry: ModelEntry, prepared: PreparedModel | None, settings: Settings) -> Predictor | OneShot:
        model = self._load(entry, prepared, settings)
        if entry.kind == "language":
            self.context_tokens[entry.name] = cast(Predictor, model).context_tokens
        return model


@contextmanager
def announced(settings: Settings) -> Iterator[Load]:
    """While the service runs in the caller's thread, another one waits for it to be ready and says so."""
    console = Console(highlight=False, soft_wrap=True)
    stop = threading.Event()
    load = NotingLoader(load_model)
    arguments = (settings, load.context_tokens, console, stop)
    thread = threading.Thread(target=announce, args=arguments, name="announce", daemon=True)
    thread.start()
    try:
        yield load
    finally:
        stop.set()
        thread.join(ANSWER_WITHIN_S)


def announce(settings: Settings, context_tokens: dict[str, int], console: Console, stop: threading.Event) -> None:
    waiting: AbstractContextManager[object] = nullcontext()
    if console.is_terminal:
        waiting = console.status(f"loading {', '.join(awaited_models(settings))}")
    with waiting:
        problem = wait_until_ready(settings, stop)
    if problem is None:
        return
    if problem:
        console.print(f"Not ready: {problem}", markup=False)
        return
    url = url_of(settings)
    console.print(f"Headwater {version('headwater')} serves on {url}", markup=False)
    for line in model_lines(settings, context_tokens):
        console.print(f"  {line}", markup=False)
    key = '-H "X-API-Key: $HEADWATER_API_KEY" ' if asks_for_keys(settings) else ""
    console.print(
        f"Try: curl -N {key}-H 'Accept: text/plain' '{url}/chat/stream?prompt=Why+is+the+sea+salty%3F'", markup=False
    )


def awaited_models(settings: Settings) -> list[str]:
    return [name for name, entry in entries_of(settings).items() if entry.loads_at_start]


def wait_until_ready(settings: Settings, stop: threading.Event) -> str | None:
    """An empty string once it is ready, what is wrong if it will not be, None if it left before."""
    while not stop.wait(POLL_S):
        status, body = ask(settings)
        if status == http.client.OK:
            return ""
        if body.get("code") not in ("", None, "model_loading", "draining"):
            return str(body.get("detail"))
    return None


def asks_for_keys(settings: Settings) -> bool:
    return ask(settings, "/models")[0] == http.client.UNAUTHORIZED


def ask(settings: Settings, path: str = "/readyz") -> tuple[int, dict[str, object]]:
    """The status and the document; 0 while nobody listens."""
    connection = http.client.HTTPConnection(address_of(settings), settings.port, timeout=ANSWER_WITHIN_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError):
        return 0, {}
    finally:
        connection.close()


def address_of(settings: Settings) -> str:
    host = settings.host.strip("[]")
    return EVERYWHERE.get(host, host)


def url_of(settings: Settings) -> str:
    host = address_of(settings)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def model_lines(settings: Settings, context_tokens: dict[str, int]) -> list[str]:
    """One line for each model: name, format, context, version."""
    if settings.engine == "echo":
        return ["default  repeats the prompt (the echo engine, no model)"]
    store = ModelStore(settings.models_dir)
    entries = list(language_models(settings.models).values())
    found = [(entry.name, store.prepared(entry)) for entry in entries]
    return [described(model, context_tokens[name]) for name, model in found if model is not None]


def described(model: PreparedModel, context_tokens: int) -> str:
    weights = model.manifest.quantization or model.manifest.dtype or "as published"
    return f"{model.name}  {weights} weights, {context_tokens} tokens of context, version {model.version}"
