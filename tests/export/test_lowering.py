"""Operators that a backend lacks, written with others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper

from export.lowering import lower
from odise_trt.errors import ExportError


def norms(path: Path, dtype: np.dtype) -> onnx.ModelProto:
    """Two norms of different groups and numbers of channels, one behind the other, and a product between."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    rng = np.random.default_rng(0)

    def weight(name: str, shape: tuple[int, ...]) -> onnx.TensorProto:
        return onnx.numpy_helper.from_array(rng.normal(1, 0.3, shape).astype(dtype), name)

    nodes = [
        helper.make_node("GroupNormalization", ["x", "s1", "b1"], ["a"], num_groups=4, epsilon=1e-6),
        helper.make_node("Sigmoid", ["a"], ["c"]),
        helper.make_node("Mul", ["a", "c"], ["d"]),
        helper.make_node("GroupNormalization", ["d", "s2", "b2"], ["y"], num_groups=2),
    ]
    shape = ["n", 8, "height", "width"]
    graph = helper.make_graph(
        nodes,
        "norms",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
        [weight(name, (8,)) for name in ("s1", "b1", "s2", "b2")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, path)
    return model


def run(path: Path, x: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float16, 2e-3)])
@pytest.mark.parametrize("shape", [(1, 8, 5, 7), (3, 8, 16, 2)])
def test_a_group_norm_without_the_operator_gives_the_same(shape, dtype, tolerance, tmp_path):
    norms(tmp_path / "plain.onnx", dtype)
    model = ir.load(tmp_path / "plain.onnx")
    lower(model, {"GroupNormalization"})
    ir.save(model, tmp_path / "lowered.onnx")
    onnx.checker.check_model(str(tmp_path / "lowered.onnx"), full_check=True)
    operators = [node.op_type for node in model.graph]
    assert "GroupNormalization" not in operators
    assert operators.count("BatchNormalization") == operators.count("InstanceNormalization") == 2
    x = np.random.default_rng(1).normal(3, 2, shape).astype(dtype)
    expected, found = run(tmp_path / "plain.onnx", x), run(tmp_path / "lowered.onnx", x)
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < tolerance


def test_a_graph_without_the_operator_stays_as_it_is(tmp_path):
    norms(tmp_path / "plain.onnx", np.dtype(np.float32))
    model = ir.load(tmp_path / "plain.onnx")
    lower(model, ())
    assert [node.op_type for node in model.graph].count("GroupNormalization") == 2


def test_an_operator_without_replacement_is_named(tmp_path):
    norms(tmp_path / "plain.onnx", np.dtype(np.float32))
    with pytest.raises(ExportError, match="no replacement for the operator Einsum"):
        lower(ir.load(tmp_path / "plain.onnx"), {"Einsum"})
