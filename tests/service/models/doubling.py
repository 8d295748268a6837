"""The smallest model that answers in one piece: it doubles a number, and adds what its version says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.models.layout import ModelKind
from service.predictors.errors import InvalidRecord

INPUT = {"type": "object", "properties": {"number": {"type": "number"}}, "required": ["number"]}
OUTPUT = {"type": "object", "properties": {"doubled": {"type": "number"}}, "required": ["doubled"]}


@dataclass(frozen=True)
class Doubling:
    """A `OneShot`."""

    name: str = "doubling"
    version: str = "1"
    more: float = 0.0
    kind: ModelKind = "embedding"
    size_bytes: int = 8
    batch_tolerance: float = 0.0
    input_schema: Mapping[str, Any] = field(default_factory=lambda: INPUT)
    output_schema: Mapping[str, Any] = field(default_factory=lambda: OUTPUT)

    def read(self, record: Mapping[str, Any]) -> float:
        number = record.get("number")
        if not isinstance(number, int | float):
            raise InvalidRecord(("number",), "Input should be a valid number")
        return float(number)

    def predict(self, inputs: Sequence[float]) -> Sequence[Mapping[str, Any]]:
        return [{"doubled": 2 * number + self.more} for number in inputs]
