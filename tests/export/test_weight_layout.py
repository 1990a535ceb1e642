"""Weights stand in the file as products read them."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnx_ir.passes import common as passes

from export.weight_layout import rearrange

WEIGHT = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)


def graph(nodes: list[onnx.NodeProto], outputs: list[str], **constants: np.ndarray) -> onnx.ModelProto:
    """A graph with the input x (rows, 4) and a weight w (9, 4)."""
    values = {"w": WEIGHT} | {name: np.asarray(array, np.int64) for name, array in constants.items()}
    return helper.make_model(
        helper.make_graph(
            nodes,
            "weights",
            [helper.make_tensor_value_info("x", 1, ["rows", 4])],
            [helper.make_tensor_value_info(name, 1, None) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in values.items()],
        ),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )


def rearranged(model: onnx.ModelProto) -> onnx.ModelProto:
    changed = ir.from_proto(model)
    rearrange(changed)
    passes.RemoveUnusedNodesPass()(changed)
    return ir.to_proto(changed)


def same_numbers(one: onnx.ModelProto, other: onnx.ModelProto) -> None:
    x = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    found, expected = (
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )
        for model in (one, other)
    )
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_parts_and_transposes_of_a_weight_are_weights_and_the_whole_is_gone():
    nodes = [
        helper.make_node("Slice", ["w", "zero", "four"], ["q"]),
        helper.make_node("Slice", ["w", "four", "nine", "zero"], ["k"]),
        helper.make_node("Transpose", ["q"], ["qt"], perm=[1, 0]),
        helper.make_node("Transpose", ["k"], ["kt"]),
        helper.make_node("MatMul", ["x", "qt"], ["y"]),
        helper.make_node("MatMul", ["x", "kt"], ["z"]),
    ]
    before = graph(nodes, ["y", "z"], zero=[0], four=[4], nine=[2**62])
    after = rearranged(before)
    assert [node.op_type for node in after.graph.node] == ["MatMul", "MatMul"]
    assert sorted(tuple(tensor.dims) for tensor in after.graph.initializer) == [(4, 4), (4, 5)]
    same_numbers(after, before)


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [(-3, 2**62, 1), (8, -(2**62), -2), (8, 2, -3), (-2, -1, 1), (3, 3, 1), (0, 99, 4)],
)
def test_a_slice_is_cut_as_onnx_cuts_it(start, end, step):
    nodes = [
        helper.make_node("Slice", ["w", "start", "end", "axis", "step"], ["part"]),
        helper.make_node("Transpose", ["part"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["y"]),
    ]
    before = graph(nodes, ["y"], start=[start], end=[end], axis=[0], step=[step])
    after = rearranged(before)
    assert [node.op_type for node in after.graph.node] == ["MatMul"]
    same_numbers(after, before)


def test_a_weight_that_something_else_reads_whole_stays():
    nodes = [
        helper.make_node("Transpose", ["w"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["y"]),
        helper.make_node("MatMul", ["y", "w"], ["z"]),
    ]
    after = rearranged(graph(nodes, ["z"]))
    assert [node.op_type for node in after.graph.node] == ["Transpose", "MatMul", "MatMul"]


def test_what_is_computed_and_what_is_put_out_stays():
    nodes = [helper.make_node("Transpose", ["x"], ["y"]), helper.make_node("Transpose", ["w"], ["z"])]
    after = rearranged(graph(nodes, ["y", "z"]))
    assert [node.op_type for node in after.graph.node] == ["Transpose", "Transpose"]
