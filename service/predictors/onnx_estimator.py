"""Estimators as ONNX graphs: one input with all features of a row, or one input for each feature."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from service.predictors.tabular import Column, ColumnKind, Estimate, Row
from streaming.errors import EngineDown

DTYPES: Mapping[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(string)": np.object_,
}
PROBABILITIES = ("prob", "score")  # how converters name the output that holds them
ERRORS_ONLY = 3


@dataclass(frozen=True, slots=True)
class OnnxEstimator:
    """An `Estimator`. Row by row: the order of a matrix product's sums depends on how many rows there are."""

    session: Any
    columns: tuple[Column, ...]
    classes: tuple[Any, ...] | None
    size_bytes: int

    def estimate(self, rows: Sequence[Row]) -> Sequence[Estimate]:
        return [self._estimate(row) for row in rows]

    def _estimate(self, row: Row) -> Estimate:
        outputs = dict(zip((one.name for one in self.session.get_outputs()), self._run(row), strict=True))
        shares = next((value for name, value in outputs.items() if is_probabilities(name)), None)
        value = next((value for name, value in outputs.items() if not is_probabilities(name)), None)
        if shares is None:
            return Estimate(scalar_of(value))
        named = self._named(shares[0])
        best = max(named, key=lambda one: named[one]) if value is None else scalar_of(value)
        return Estimate(self._class_of(best), named)

    def _run(self, row: Row) -> Any:
        inputs = self.session.get_inputs()
        parts = [row] if len(inputs) == 1 else [(value,) for value in row]
        feed = {one.name: np.array([part], DTYPES[one.type]) for one, part in zip(inputs, parts, strict=True)}
        return self.session.run(None, feed)

    def _named(self, shares: Any) -> dict[str, float]:
        if isinstance(shares, dict):
            return {str(label): float(share) for label, share in shares.items()}
        labels = self.classes or range(len(shares))
        return {str(label): float(share) for label, share in zip(labels, shares, strict=True)}

    def _class_of(self, value: Any) -> Any:
        """A graph often counts its classes; their names are then those of the configuration."""
        is_place = isinstance(value, int) and self.classes and value not in self.classes
        return self.classes[value] if is_place and self.classes else value


def is_probabilities(name: str) -> bool:
    return any(part in name.lower() for part in PROBABILITIES)


def scalar_of(value: Any) -> Any:
    listed = np.asarray(value).reshape(-1).tolist()
    return listed[0] if len(listed) == 1 else listed


def load_onnx(path: Path, name: str, features: Sequence[str] | None, labels: Sequence[str] | None) -> OnnxEstimator:
    """From bytes: a graph that names other files does not get them."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # rows are small; requests run side by side
    options.log_severity_level = ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        columns = columns_of(session.get_inputs(), features)
    except Exception as error:  # onnxruntime raises classes of its own that share no base but this one
        raise EngineDown(f"The model {name} cannot be opened as an ONNX graph of rows.") from error
    return OnnxEstimator(session, columns, tuple(labels) if labels else None, path.stat().st_size)


def columns_of(inputs: Sequence[Any], features: Sequence[str] | None) -> tuple[Column, ...]:
    """Raises `ValueError` or `KeyError` for inputs that are no rows of numbers or strings."""
    kinds = [kind_of(DTYPES[one.type]) for one in inputs]
    if len(inputs) > 1:
        names, kinds_of_all = [one.name for one in inputs], kinds
    else:
        width = inputs[0].shape[1] if len(inputs[0].shape) == 2 else None
        count = width if isinstance(width, int) else len(features or ())
        names, kinds_of_all = [f"feature_{place + 1}" for place in range(count)], kinds * count
    if not names or (features is not None and len(features) != len(names)):
        raise ValueError("its features are not those of the configuration")
    return tuple(Column(name, kind) for name, kind in zip(features or names, kinds_of_all, strict=True))


def kind_of(dtype: Any) -> ColumnKind:
    if dtype is np.object_:
        return "string"
    return "integer" if np.issubdtype(dtype, np.integer) else "number"
