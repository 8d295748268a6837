"""One-shot models without weights, for tests of what stands around a model."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.models.layout import ModelKind
from service.predictors.errors import InvalidRecord
from service.predictors.predictor import JsonSchema, Output, Record

GATE_TIMEOUT_S = 30


class Poisonous(Exception):
    """What a library raises on an input that it cannot bear; its words quote the input."""


@dataclass(frozen=True, slots=True)
class Reversing:
    """Turns a text around and names its version. A text with `poison` in it cannot be borne, alone or in company."""

    name: str = "reversing"
    version: str = "1"
    kind: ModelKind = "tabular"
    size_bytes: int = 100
    batch_tolerance: float = 0
    input_schema: JsonSchema = field(default_factory=lambda: {"type": "object"})
    output_schema: JsonSchema = field(default_factory=lambda: {"type": "object"})

    def read(self, record: Record) -> str:
        text = record.get("text")
        if not isinstance(text, str):
            raise InvalidRecord(("text",), "Input should be a string", "string_type")
        return text

    def predict(self, inputs: Sequence[Any]) -> Sequence[Output]:
        return [self.one(text) for text in inputs]

    def one(self, text: str) -> Output:
        if "poison" in text:
            raise Poisonous(text)
        return {"text": text[::-1], "version": self.version}


class Watched:
    """Another predictor whose batches are seen, and held back until the gate opens."""

    def __init__(self, inner: Any = None, *, is_held: bool = False) -> None:
        self._inner = inner or Reversing()
        self.batches: list[list[Any]] = []
        self.threads: set[str] = set()
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        if not is_held:
            self.gate.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def predict(self, inputs: Sequence[Any]) -> Sequence[Output]:
        self.batches.append(list(inputs))
        self.threads.add(threading.current_thread().name)
        self.entered.release()
        assert self.gate.wait(GATE_TIMEOUT_S)
        outputs: Sequence[Output] = self._inner.predict(inputs)
        return outputs


@dataclass(frozen=True, slots=True)
class Breaking:
    """Does `act` instead of predicting."""

    act: Callable[[Sequence[Any]], Sequence[Output]]
    name: str = "breaking"
    version: str = "1"
    kind: ModelKind = "tabular"
    size_bytes: int = 0
    batch_tolerance: float = 0
    input_schema: JsonSchema = field(default_factory=dict)
    output_schema: JsonSchema = field(default_factory=dict)

    def read(self, record: Record) -> str:
        return str(record)

    def predict(self, inputs: Sequence[Any]) -> Sequence[Output]:
        return self.act(inputs)
