"""Rows of named values to numbers or classes. What computes is an estimator: scikit-learn's, or an ONNX graph."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from service.predictors.errors import WrongLength
from service.predictors.fields import list_of, number_of, refuse_misnamed, string_of, wrong
from service.predictors.limits import RecordLimits
from service.predictors.predictor import JsonSchema, Output, Record

Value: TypeAlias = float | str | None
Row: TypeAlias = tuple[Value, ...]
ColumnKind: TypeAlias = Literal["number", "integer", "string"]
LIST_FIELD = "features"
INTEGER_MAX = 2**31 - 1
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
FLOAT32_MAX = 3.4e38  # trees and many ONNX graphs compute in it


@dataclass(frozen=True, slots=True)
class Column:
    """`choices` are the only strings that the model knows, where it refuses others."""

    name: str
    kind: ColumnKind = "number"
    choices: tuple[str, ...] = ()
    may_be_missing: bool = False

    @property
    def schema(self) -> JsonSchema:
        schema: dict[str, Any] = {"type": [self.kind, "null"] if self.may_be_missing else self.kind}
        return {**schema, "enum": list(self.choices)} if self.choices else schema


@dataclass(frozen=True, slots=True)
class Estimate:
    """`value` is a number, a class, or a list of them; `probabilities` of classes, where the model has them."""

    value: Any
    probabilities: Mapping[str, float] | None = None


class Estimator(Protocol):
    """Immutable. `estimate` blocks; each row's numbers are to the bit what they are when it comes alone."""

    @property
    def columns(self) -> tuple[Column, ...]: ...

    @property
    def classes(self) -> tuple[Any, ...] | None: ...

    @property
    def size_bytes(self) -> int: ...

    def estimate(self, rows: Sequence[Row]) -> Sequence[Estimate]: ...


@dataclass(frozen=True, slots=True)
class TabularModel:
    """A `OneShot`."""

    name: str
    version: str
    estimator: Estimator
    limits: RecordLimits = field(default_factory=RecordLimits)
    kind: Literal["tabular"] = "tabular"
    batch_tolerance: float = 0.0

    @property
    def size_bytes(self) -> int:
        return self.estimator.size_bytes

    @property
    def input_schema(self) -> JsonSchema:
        """By name; as a list under `features` they stand in the same order."""
        columns = self.estimator.columns
        named = {column.name: column.schema for column in columns}
        items = [column.schema for column in columns]
        listed = {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
        return {
            "type": "object",
            "anyOf": [object_of(named), object_of({LIST_FIELD: listed})],
            "examples": [{column.name: example_of(column) for column in columns}],
        }

    @property
    def output_schema(self) -> JsonSchema:
        classes = self.estimator.classes
        if classes is None:
            return {"type": "object", "properties": {"prediction": {}}, "required": ["prediction"]}
        shares = {str(one): {"type": "number", "minimum": 0, "maximum": 1} for one in classes}
        properties = {"prediction": {"enum": list(classes)}, "probabilities": {"type": "object", "properties": shares}}
        return {"type": "object", "properties": properties, "required": ["prediction"]}

    def read(self, record: Record) -> Row:
        columns = self.estimator.columns
        names = [column.name for column in columns]
        if LIST_FIELD in record and LIST_FIELD not in names:
            return self._read_list(record)
        refuse_misnamed(record, names, names)
        return tuple(self._value(column, record[column.name], (column.name,)) for column in columns)

    def _read_list(self, record: Record) -> Row:
        columns = self.estimator.columns
        refuse_misnamed(record, (LIST_FIELD,), ())
        given = list_of(record[LIST_FIELD], (LIST_FIELD,))
        if len(given) != len(columns):
            message = f"List should have {len(columns)} items; it has {len(given)}"
            raise WrongLength((LIST_FIELD,), message, "wrong_length")
        return tuple(self._value(columns[place], one, (LIST_FIELD, place)) for place, one in enumerate(given))

    def _value(self, column: Column, value: Any, place: tuple[str | int, ...]) -> Value:
        if value is None and column.may_be_missing:
            return None
        if column.kind != "string":
            return self._number(column, value, place)
        text = string_of(value, place, self.limits.max_value_chars)
        if column.choices and text not in column.choices:
            raise wrong(place, f"Input should be one of the {len(column.choices)} values that the model knows", "enum")
        return text

    def _number(self, column: Column, value: Any, place: tuple[str | int, ...]) -> float:
        number = number_of(value, place, self.limits)
        if abs(number) > FLOAT32_MAX:
            raise wrong(place, f"Input should be at most {FLOAT32_MAX:g} away from 0", "number_too_large")
        if column.kind == "integer" and (not number.is_integer() or abs(number) > INTEGER_MAX):
            raise wrong(place, "Input should be a whole number that int32 holds", "int_from_float")
        return number

    def predict(self, inputs: Sequence[Row]) -> Sequence[Output]:
        return [output_of(estimate) for estimate in self.estimator.estimate(inputs)]


def record_of_cells(columns: Sequence[Column], cells: Mapping[str, Any]) -> Record:
    """The columns that the model asks for, of a row that may have more. As in CSV, numbers may be text, gaps empty."""
    if LIST_FIELD in cells and LIST_FIELD not in [column.name for column in columns]:
        return {LIST_FIELD: cells[LIST_FIELD]}
    return {column.name: value_of_cell(column, cells[column.name]) for column in columns if column.name in cells}


def value_of_cell(column: Column, cell: Any) -> Any:
    """What is no number stays as it is, for `read` to refuse."""
    if not isinstance(cell, str):
        return cell
    if not cell.strip():
        return None if column.may_be_missing or column.kind != "string" else cell
    return float(cell) if column.kind != "string" and NUMBER.fullmatch(cell.strip()) else cell


def output_of(estimate: Estimate) -> Output:
    values = estimate.value if isinstance(estimate.value, list) else [estimate.value]
    numbers = [*values, *(estimate.probabilities or {}).values()]
    if not all(math.isfinite(one) for one in numbers if isinstance(one, float)):
        raise wrong((), "The model has no finite answer to this record", "no_finite_answer")
    output: dict[str, Any] = {"prediction": estimate.value}
    return output if estimate.probabilities is None else {**output, "probabilities": estimate.probabilities}


def object_of(properties: Mapping[str, JsonSchema]) -> JsonSchema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def example_of(column: Column) -> Value:
    if column.kind != "string":
        return 1.0
    return column.choices[0] if column.choices else "text"
