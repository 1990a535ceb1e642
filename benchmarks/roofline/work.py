"""The work in an ONNX graph: floating-point operations and bytes, per node and in total.

A multiplication and an addition count as two operations. Products (MatMul, Gemm, Conv, ConvTranspose, Einsum)
are counted as a direct computation does them, padding included and biases not: as PyTorch's counter does. Of
other operators each output element counts as one operation, or each input element where the operator reduces.
They cost bytes rather than operations, so the difference does not move a floor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import helper

from .shapes import TensorShape, tensor_shapes

#: Operators that move or rename elements, and compute nothing.
_MOVES = frozenset(
    {"Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten", "Slice", "Split", "Concat", "Pad", "Expand"}
    | {"Tile", "Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "Where", "Cast"}
    | {"Identity", "Shape", "Range", "Constant", "ConstantOfShape", "DepthToSpace", "SpaceToDepth"}
)
#: Of them, those that need no copy: the same bytes under another shape.
_VIEWS = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity", "Shape", "Constant"})
#: Operators that read elements to make fewer of them.
_REDUCTIONS = ("Reduce", "Arg", "MaxPool", "AveragePool", "GlobalAveragePool", "CumSum", "TopK")
#: Passes over the elements, each one operation: the mean, the variance, and the scaling of a normalisation.
_PASSES = {
    "Softmax": 3,
    "LogSoftmax": 3,
    "LayerNormalization": 5,
    "InstanceNormalization": 5,
    "GroupNormalization": 5,
    "RMSNormalization": 3,
    "BatchNormalization": 2,
    "Gelu": 3,
    "Resize": 2,
    "GridSample": 8,
}


@dataclass(frozen=True)
class Work:
    """An amount of work.

    Attributes:
        matmul: operations of matrix products.
        conv: operations of convolutions.
        other: operations of all other operators.
        weights: bytes of weights that are read.
        activations: bytes of other tensors that are read or written.
    """

    matmul: int = 0
    conv: int = 0
    other: int = 0
    weights: int = 0
    activations: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(self.parts, other.parts, strict=True)))

    @property
    def parts(self) -> tuple[int, int, int, int, int]:
        """All amounts."""
        return self.matmul, self.conv, self.other, self.weights, self.activations

    @property
    def flops(self) -> int:
        """All floating-point operations."""
        return self.matmul + self.conv + self.other

    @property
    def products(self) -> int:
        """Operations of matrix products and convolutions."""
        return self.matmul + self.conv

    @property
    def bytes(self) -> int:
        """All bytes that are read or written."""
        return self.weights + self.activations


@dataclass(frozen=True)
class NodeWork:
    """A node of a graph with its work: its inputs and outputs are read and written once."""

    name: str
    op_type: str
    work: Work


@dataclass(frozen=True)
class GraphWork:
    """The work of a graph at given sizes.

    Attributes:
        nodes: the nodes that do something. Views of tensors, and nodes that only work out shapes, do not.
        least: all operations, and the least bytes that any engine must move: every weight once, and inputs
            and outputs of the graph once.
    """

    nodes: tuple[NodeWork, ...]
    least: Work

    @property
    def layered(self) -> Work:
        """The sum over the nodes: the bytes of an engine that fuses nothing and keeps nothing in a cache."""
        return total(node.work for node in self.nodes)


def total(parts: Iterable[Work]) -> Work:
    """Add up amounts of work."""
    return sum(parts, Work())


def count(model: onnx.ModelProto, inputs: Mapping[str, Sequence[int]]) -> GraphWork:
    """Count the work of one run of a graph.

    Args:
        model: the graph. The external data of its weights need not be loaded.
        inputs: the shape of every input.

    Raises:
        ExportError: a shape is not known before a run, see `tensor_shapes`.
    """
    shapes, graph = tensor_shapes(model, inputs), model.graph
    nodes = [
        NodeWork(node.name or node.output[0], node.op_type, _work(node, shapes))
        for node in graph.node
        if _computes(node, shapes)
    ]
    operations = total(node.work for node in nodes)
    used = {name for node in graph.node for name in node.input}
    weights = sum(shapes[one.name].bytes for one in graph.initializer if one.name in used)
    ends = {tensor.name for tensor in (*graph.input, *graph.output)} - {one.name for one in graph.initializer}
    least = Work(
        operations.matmul,
        operations.conv,
        operations.other,
        weights,
        sum(shapes[name].bytes for name in ends),
    )
    return GraphWork(tuple(nodes), least)


def _computes(node: onnx.NodeProto, shapes: Mapping[str, TensorShape]) -> bool:
    tensors = [shapes[name] for name in (*node.input, *node.output) if name]
    return node.op_type not in _VIEWS and any(one.is_float for one in tensors)


def _work(node: onnx.NodeProto, shapes: Mapping[str, TensorShape]) -> Work:
    inputs = [shapes[name] for name in node.input if name]
    outputs = [shapes[name] for name in node.output if name]
    # A gather reads the elements that it takes, not the whole table.
    is_partial = node.op_type in ("Gather", "GatherElements", "GatherND", "Slice", "Split")
    read = outputs if is_partial else [one for one in inputs if not one.is_weight]
    weights = 0 if is_partial else sum(one.bytes for one in inputs if one.is_weight)
    activations = sum(one.bytes for one in (*read, *outputs))
    if node.op_type in _PRODUCTS:
        flops = _PRODUCTS[node.op_type](node, inputs, outputs[0])
        is_conv = node.op_type.startswith("Conv")
        return Work(0 if is_conv else flops, flops if is_conv else 0, 0, weights, activations)
    return Work(0, 0, _other(node.op_type, inputs, outputs), weights, activations)


def _other(op_type: str, inputs: Sequence[TensorShape], outputs: Sequence[TensorShape]) -> int:
    if op_type in _MOVES:
        return 0
    written = sum(one.elements for one in outputs)
    if op_type in _PASSES:
        return _PASSES[op_type] * written
    if op_type.startswith(_REDUCTIONS):
        return inputs[0].elements
    return written


def _matmul(node: onnx.NodeProto, inputs: Sequence[TensorShape], output: TensorShape) -> int:
    return 2 * output.elements * inputs[0].shape[-1]


def _gemm(node: onnx.NodeProto, inputs: Sequence[TensorShape], output: TensorShape) -> int:
    transposed = any(one.name == "transA" and one.i for one in node.attribute)
    return 2 * output.elements * inputs[0].shape[0 if transposed else 1]


def _conv(node: onnx.NodeProto, inputs: Sequence[TensorShape], output: TensorShape) -> int:
    # Weights are (out, in / groups, kernel...), so the groups are in their shape.
    return 2 * output.elements * math.prod(inputs[1].shape[1:])


def _conv_transpose(node: onnx.NodeProto, inputs: Sequence[TensorShape], output: TensorShape) -> int:
    # Weights are (in, out / groups, kernel...): every input element is added to that many outputs.
    return 2 * inputs[0].elements * math.prod(inputs[1].shape[1:])


def _einsum(node: onnx.NodeProto, inputs: Sequence[TensorShape], output: TensorShape) -> int:
    equation = next(
        helper.get_attribute_value(one) for one in node.attribute if one.name == "equation"
    ).decode()
    sizes: dict[str, int] = {}
    for term, tensor in zip(equation.split("->")[0].replace(" ", "").split(","), inputs, strict=True):
        sizes |= zip(term, tensor.shape, strict=True)
    return 2 * math.prod(sizes.values())


_PRODUCTS: dict[str, Callable[[onnx.NodeProto, Sequence[TensorShape], TensorShape], int]] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
}
