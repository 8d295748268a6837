"""What the contract suite needs to know of an engine. A new engine adds one class here and one line to `HARNESSES`."""

import functools
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from streaming.engine import Engine
from streaming.engines.echo import EchoEngine, EchoSpeed
from streaming.engines.echo.script import to_ids
from streaming.engines.torch.load import open_parts, start_engine
from streaming.engines.torch.settings import MIB
from streaming.generation import Generation, new_stream_id
from tests.streaming.engines.torch.support import EXACT, POISON, PoisonedRunner, make_generation
from tests.streaming.engines.torch.tiny import make_model, make_tokenizer


class EngineHarness(Protocol):
    name: str

    def open(self, *, max_running: int = 4, max_waiting: int = 4) -> Engine:
        """A fresh engine; the suite closes it."""

    def generation(self, prompt: str = "", **fields: Any) -> Generation:
        """A greedy generation of a fresh stream. The same prompt gives the same tokens."""

    def poisoned(self) -> Generation | None:
        """One that fails after a few tokens; None if the engine cannot be made to."""


class EchoHarness:
    name = "echo"

    def open(self, *, max_running: int = 4, max_waiting: int = 4) -> Engine:
        return EchoEngine(EchoSpeed(200.0, max_running, max_waiting))

    def generation(self, prompt: str = "", **fields: Any) -> Generation:
        words = prompt or " ".join(f"word{number}" for number in range(30))
        defaults: dict[str, Any] = {
            "stream_id": new_stream_id(),
            "owner": "anonymous",
            "model": "default",
            "model_version": "echo-1",
            "token_ids": to_ids(words),
            "max_tokens": 20,
            "seed": 1,
            "created": int(time.time()),
        }
        return Generation(**{**defaults, **fields})

    def poisoned(self) -> Generation | None:
        return self.generation("one two three four [[echo nonfinite_at=3]]")


class TorchHarness:
    """A tiny random model, made once for the whole run; its weights do not matter to the promises."""

    name = "torch"

    def open(self, *, max_running: int = 4, max_waiting: int = 4) -> Engine:
        settings = replace(EXACT, max_running=max_running, max_waiting=max_waiting, kv_cache_bytes=2048 * MIB)
        parts = open_parts(tiny_folder(), settings)
        return start_engine(replace(parts, runner=PoisonedRunner(parts.runner, "nan")), settings, "tiny")

    def generation(self, prompt: str = "", **fields: Any) -> Generation:
        tokens = make_tokenizer().encode(prompt or "a stone in the water, here and there")
        defaults: dict[str, Any] = {"max_tokens": 20, "stream_id": new_stream_id()}
        return make_generation(tokens, **{**defaults, **fields})

    def poisoned(self) -> Generation | None:
        return self.generation(token_ids=(POISON, 30, 31))


@functools.cache
def tiny_folder() -> Path:
    return make_model(Path(tempfile.mkdtemp(prefix="headwater-tiny-")))


HARNESSES: dict[str, Callable[[], EngineHarness]] = {"echo": EchoHarness, "torch": TorchHarness}
