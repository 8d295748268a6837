"""Tells the operator what is being loaded, and where to ask once it is ready. Looks from outside, as a client would."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from service.models.config import load_models
from service.models.store import ModelStore, PreparedModel
from service.settings import Settings

POLL_S = 0.2
ANSWER_WITHIN_S = 5
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  to be asked on, not to listen on


@contextmanager
def announced(settings: Settings) -> Iterator[None]:
    """While the service runs in the caller's thread, another one waits for it to be ready and says so."""
    console = Console(highlight=False, soft_wrap=True)
    stop = threading.Event()
    thread = threading.Thread(target=announce, args=(settings, console, stop), name="announce", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(ANSWER_WITHIN_S)


def announce(settings: Settings, console: Console, stop: threading.Event) -> None:
    lines = model_lines(settings)
    waiting: AbstractContextManager[object] = nullcontext()
    if console.is_terminal:
        waiting = console.status(f"loading {', '.join(line.split()[0] for line in lines)}")
    with waiting:
        problem = wait_until_ready(settings, stop)
    if problem is None:
        return
    if problem:
        console.print(f"Not ready: {problem}", markup=False)
        return
    url = url_of(settings)
    console.print(f"Headwater {version('headwater')} serves on {url}", markup=False)
    for line in lines:
        console.print(f"  {line}", markup=False)
    console.print(
        f"Try: curl -N -H 'Accept: text/plain' '{url}/chat/stream?prompt=Why+is+the+sea+salty%3F'", markup=False
    )


def wait_until_ready(settings: Settings, stop: threading.Event) -> str | None:
    """An empty string once it is ready, what is wrong if it will not be, None if it left before."""
    while not stop.wait(POLL_S):
        status, body = ask(settings)
        if status == http.client.OK:
            return ""
        if body.get("code") not in ("", None, "model_loading", "draining"):
            return str(body.get("detail"))
    return None


def ask(settings: Settings) -> tuple[int, dict[str, object]]:
    """The status and the document of /readyz; 0 while nobody listens."""
    connection = http.client.HTTPConnection(address_of(settings), settings.port, timeout=ANSWER_WITHIN_S)
    try:
        connection.request("GET", "/readyz")
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


def model_lines(settings: Settings) -> list[str]:
    """One line for each model: name, format, context, version."""
    if settings.engine == "echo":
        return ["default  repeats the prompt (the echo engine, no model)"]
    store = ModelStore(settings.models_dir)
    entries = [entry for entry in load_models(settings.models).values() if entry.load]
    found = [(entry, store.prepared(entry)) for entry in entries]
    return [described(model, entry.max_context_tokens) for entry, model in found if model is not None]


def described(model: PreparedModel, max_context_tokens: int | None) -> str:
    weights = model.manifest.quantization or model.manifest.dtype or "as published"
    tokens = max_context_tokens or context_tokens(model.path)
    context = f", {tokens} tokens of context" if tokens else ""
    return f"{model.name}  {weights} weights{context}, version {model.version}"


def context_tokens(folder: Path) -> int | None:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    tokens = config.get("max_position_embeddings") if isinstance(config, dict) else None
    return tokens if isinstance(tokens, int) else None
