"""Small ONNX graphs, made by hand: what converters of tabular models write, without a converter."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = helper.make_opsetid("", 18)


def save(path: Path, nodes: Sequence[onnx.NodeProto], inputs: object, outputs: object, weights: object = ()) -> Path:
    graph = helper.make_graph(nodes, "rows", inputs, outputs, initializer=weights)
    model = helper.make_model(graph, opset_imports=[OPSET], ir_version=10)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def tensor(name: str, width: int | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["rows"] if width is None else ["rows", width])


def write_regressor(path: Path, weights: Sequence[float], bias: float) -> Path:
    """One input with all features: their weighted sum."""
    parts = [
        numpy_helper.from_array(np.array(weights, np.float32)[:, None], "w"),
        numpy_helper.from_array(np.array([bias], np.float32), "b"),
    ]
    nodes = [helper.make_node("MatMul", ["input", "w"], ["sum"]), helper.make_node("Add", ["sum", "b"], ["variable"])]
    return save(path, nodes, [tensor("input", len(weights))], [tensor("variable", 1)], parts)


def write_classifier(path: Path, features: Sequence[str]) -> Path:
    """An input for each feature; the class is that of the largest, its probabilities their softmax."""
    nodes = [
        helper.make_node("Concat", list(features), ["all"], axis=1),
        helper.make_node("ArgMax", ["all"], ["label"], axis=1, keepdims=0),
        helper.make_node("Softmax", ["all"], ["probabilities"], axis=1),
    ]
    inputs = [tensor(name, 1) for name in features]
    outputs = [tensor("label", None, TensorProto.INT64), tensor("probabilities", len(features))]
    return save(path, nodes, inputs, outputs)


def write_counter(path: Path) -> Path:
    """Takes a whole number and gives it back."""
    node = helper.make_node("Identity", ["count"], ["out"])
    kind = TensorProto.INT64
    return save(path, [node], [tensor("count", 1, kind)], [tensor("out", 1, kind)])
