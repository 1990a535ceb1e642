"""The shape of every tensor of an ONNX graph, when the sizes of its inputs are given. Nothing is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.defs import OpSchema, get_schema
from onnx.reference import ReferenceEvaluator
from onnx.shape_inference import infer_node_outputs

from odise_trt.errors import ExportError

#: Values up to so many elements are worked out, since shapes can depend on them.
_SMALL = 4096
#: Operators whose output has the shape of their first input, and that ONNX does not infer.
_AS_INPUT = frozenset({"GroupNormalization", "Gelu", "Swish"})
_FLOATS = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})


@dataclass(frozen=True)
class TensorShape:
    """A tensor of a graph.

    Attributes:
        dtype: ONNX's number for the type of its elements.
        shape: its sizes.
        is_weight: whether it is an initializer, the same in every run.
    """

    dtype: int
    shape: tuple[int, ...]
    is_weight: bool = False

    @property
    def elements(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Its size in bytes."""
        return self.elements * helper.tensor_dtype_to_np_dtype(self.dtype).itemsize

    @property
    def is_float(self) -> bool:
        """Whether its elements are fp32, fp16 or bf16 numbers."""
        return self.dtype in _FLOATS


@dataclass
class _Known:
    shapes: dict[str, TensorShape] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)


def tensor_shapes(model: onnx.ModelProto, inputs: Mapping[str, Sequence[int]]) -> dict[str, TensorShape]:
    """Return the shape of every tensor of a graph.

    Args:
        model: the graph. The external data of its weights need not be loaded.
        inputs: the shape of every input.

    Raises:
        ExportError: an input has no shape, or the shape of a tensor depends on values that are not known
            before a run. The message names the node.
    """
    graph, known = model.graph, _Known()
    for tensor in graph.initializer:
        known.shapes[tensor.name] = TensorShape(tensor.data_type, tuple(tensor.dims), is_weight=True)
        if _is_external(tensor) or math.prod(tensor.dims) > _SMALL:
            continue
        known.values[tensor.name] = numpy_helper.to_array(tensor)
    for tensor in graph.input:
        if tensor.name in known.shapes:
            continue
        if tensor.name not in inputs:
            raise ExportError(f"graph {graph.name}: the input {tensor.name} has no shape", "give all inputs")
        known.shapes[tensor.name] = TensorShape(tensor.type.tensor_type.elem_type, tuple(inputs[tensor.name]))
    versions = {one.domain: one.version for one in model.opset_import}
    for node in graph.node:
        _visit(node, versions, known)
    return known.shapes


def _visit(node: onnx.NodeProto, versions: Mapping[str, int], known: _Known) -> None:
    if node.op_type == "Shape":
        shape = known.shapes[node.input[0]].shape
        start, end = (_attribute(node, name, default) for name, default in (("start", 0), ("end", None)))
        known.values[node.output[0]] = np.array(shape[start:end], np.int64)
    elif all(name in known.values for name in node.input if name):
        _evaluate(node, versions, known)
    missing = [name for name in node.output if name and name not in known.values]
    for name in set(node.output) - set(missing) - {""}:
        value = known.values[name]
        dtype = helper.np_dtype_to_tensor_dtype(value.dtype)
        known.shapes[name] = TensorShape(dtype, value.shape)
        if value.size > _SMALL:
            del known.values[name]
    if missing:
        _infer(node, versions, known)


def _evaluate(node: onnx.NodeProto, versions: Mapping[str, int], known: _Known) -> None:
    if node.op_type == "Expand" and math.prod(known.values[node.input[1]].tolist()) > _SMALL:
        return
    feeds = {name: known.values[name] for name in node.input if name}
    model = helper.make_model(
        helper.make_graph(
            [node],
            "one",
            [_value(name, known.shapes[name]) for name in feeds],
            [onnx.ValueInfoProto(name=name) for name in node.output if name],
        ),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in versions.items()],
    )
    try:
        results: Any = ReferenceEvaluator(model).run(None, feeds)
    except NotImplementedError:
        return
    known.values |= zip((name for name in node.output if name), map(np.asarray, results), strict=True)


def _infer(node: onnx.NodeProto, versions: Mapping[str, int], known: _Known) -> None:
    inputs = [known.shapes[name] for name in node.input if name]
    if node.op_type in _AS_INPUT:
        known.shapes[node.output[0]] = TensorShape(inputs[0].dtype, inputs[0].shape)
        return
    schema: OpSchema = get_schema(node.op_type, versions[node.domain], node.domain)
    types = {name: _value(name, known.shapes[name]).type for name in node.input if name}
    values = {name: numpy_helper.from_array(known.values[name]) for name in types if name in known.values}
    found = infer_node_outputs(schema, node, types, values, opset_imports=_opsets(versions))
    for name in node.output:
        if not name:
            continue
        tensor = found[name].tensor_type if name in found else None
        sizes = [] if tensor is None else [one.dim_value for one in tensor.shape.dim]
        unknown = tensor is None or any(not one.HasField("dim_value") for one in tensor.shape.dim)
        if tensor is None or unknown:
            raise ExportError(
                f"node {node.name or node.output[0]} ({node.op_type}): the shape of {name} is not known"
                " before a run",
                "such graphs cannot be counted; see `benchmarks.roofline.shapes`",
            )
        known.shapes[name] = TensorShape(tensor.elem_type, tuple(sizes))


def _opsets(versions: Mapping[str, int]) -> list[onnx.OperatorSetIdProto]:
    return [helper.make_opsetid(domain, version) for domain, version in versions.items()]


def _value(name: str, tensor: TensorShape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, tensor.dtype, tensor.shape)


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)


def _is_external(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL
