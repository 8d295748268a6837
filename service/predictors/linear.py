"""A weighted sum of a few numbers: the smallest model there is, and the arithmetic of those who compare servers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from service.predictors.errors import WrongLength
from service.predictors.fields import list_of, number_of, refuse_misnamed, wrong
from service.predictors.limits import RecordLimits
from service.predictors.predictor import JsonSchema, Output, Record

FIELDS = ("features", "scale_factor")
BYTES_A_WEIGHT = 32  # a Python float and its place in a tuple
OUTPUT_SCHEMA: JsonSchema = {
    "type": "object",
    "properties": {"prediction": {"type": "number"}, "status": {"const": "success"}},
    "required": ["prediction", "status"],
}


@dataclass(frozen=True, slots=True)
class LinearInput:
    features: tuple[float, ...]
    scale_factor: float


@dataclass(frozen=True, slots=True)
class LinearModel:
    """A `OneShot`."""

    name: str
    version: str
    weights: tuple[float, ...]
    limits: RecordLimits = field(default_factory=RecordLimits)
    kind: Literal["linear"] = "linear"
    batch_tolerance: float = 0.0

    @property
    def size_bytes(self) -> int:
        return BYTES_A_WEIGHT * len(self.weights)

    @property
    def input_schema(self) -> JsonSchema:
        most, count = self.limits.max_number, len(self.weights)
        numbers = {"type": "number", "minimum": -most, "maximum": most}
        features = {"type": "array", "items": numbers, "minItems": count, "maxItems": count}
        scale = {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": most, "default": 1.0}
        return {
            "type": "object",
            "properties": {"features": features, "scale_factor": scale},
            "required": ["features"],
            "additionalProperties": False,
            "examples": [{"features": [1.0] * count, "scale_factor": 1.0}],
        }

    @property
    def output_schema(self) -> JsonSchema:
        return OUTPUT_SCHEMA

    def read(self, record: Record) -> LinearInput:
        refuse_misnamed(record, FIELDS, ("features",))
        given = list_of(record["features"], ("features",))
        if len(given) > self.limits.max_features:
            raise self._wrong_length(len(given))
        features = tuple(number_of(one, ("features", place), self.limits) for place, one in enumerate(given))
        scale = record.get("scale_factor")
        scale_factor = 1.0 if scale is None else number_of(scale, ("scale_factor",), self.limits)
        if scale_factor <= 0:
            raise wrong(("scale_factor",), "Input should be greater than 0", "greater_than")
        if len(features) != len(self.weights):
            raise self._wrong_length(len(features))
        return LinearInput(features, scale_factor)

    def _wrong_length(self, length: int) -> WrongLength:
        message = f"List should have {len(self.weights)} items; it has {length}"
        return WrongLength(("features",), message, "wrong_length")

    def predict(self, inputs: Sequence[LinearInput]) -> Sequence[Output]:
        return [{"prediction": self._sum(one), "status": "success"} for one in inputs]

    def _sum(self, one: LinearInput) -> float:
        total = sum(weight * feature for weight, feature in zip(self.weights, one.features, strict=True))
        return total * one.scale_factor
