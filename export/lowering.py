"""Operators that a backend has no kernel for, written with others: equal numbers within rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx_ir as ir
from onnx_ir import convenience

from odise_trt.errors import ExportError


def lower(model: ir.Model, operators: Iterable[str]) -> None:
    """Replace operators of a graph, in place.

    Args:
        model: with shapes of initializers known.
        operators: types of operators, as in `odise_trt.backends.registry.BackendEntry.lacks`.

    Raises:
        ExportError: there is no replacement for an operator.
    """
    for operator in sorted(operators):
        if operator not in _REPLACEMENTS:
            raise ExportError(
                f"there is no replacement for the operator {operator}", "add one to export/lowering.py"
            )
        replace = _REPLACEMENTS[operator]
        for node in [node for node in model.graph if node.op_type == operator]:
            replace(model.graph, node)


def _group_norm(graph: ir.Graph, node: ir.Node) -> None:
    """Normalise groups as if each were a channel, then scale and shift the channels as a batch norm does.

    ONNX Runtime has no GroupNormalization. It would expand the operator's definition: 20 nodes for each, in a
    layout that keeps convolutions from running in their own.
    """
    x, scale, bias = node.inputs
    assert x is not None
    assert scale is not None
    groups = node.attributes["num_groups"].as_int()
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    assert scale.const_value is not None
    channels, dtype = scale.const_value.shape[0], scale.const_value.numpy().dtype
    assert isinstance(channels, int)

    def constant(name: str, values: np.ndarray) -> ir.Value:
        if name not in graph.initializers:
            value = ir.Value(name=name, const_value=ir.tensor(values, name=name))
            value.shape, value.type = (
                ir.Shape(values.shape),
                ir.TensorType(ir.DataType.from_numpy(values.dtype)),
            )
            graph.register_initializer(value)
        return graph.initializers[name]

    def node_of(operator: str, *inputs: ir.Value | None, **attributes: float) -> ir.Node:
        return ir.node(operator, inputs, attributes=attributes, metadata_props=dict(node.metadata_props))

    kind = dtype.name
    folded = node_of("Reshape", x, constant(f"groups_{groups}", np.array([0, groups, -1], np.int64)))
    normalised = node_of(
        "InstanceNormalization",
        folded.outputs[0],
        constant(f"ones_{groups}_{kind}", np.ones(groups, dtype)),
        constant(f"zeros_{groups}_{kind}", np.zeros(groups, dtype)),
        epsilon=epsilon,
    )
    shape = node_of("Shape", x)
    unfolded = node_of("Reshape", normalised.outputs[0], shape.outputs[0])
    scaled = node_of(
        "BatchNormalization",
        unfolded.outputs[0],
        scale,
        bias,
        constant(f"zeros_{channels}_{kind}", np.zeros(channels, dtype)),
        constant(f"ones_{channels}_{kind}", np.ones(channels, dtype)),
        epsilon=0.0,
    )
    scaled.outputs[0].shape, scaled.outputs[0].type = node.outputs[0].shape, node.outputs[0].type
    convenience.replace_nodes_and_values(
        graph, node, [node], [folded, normalised, shape, unfolded, scaled], node.outputs, scaled.outputs
    )


_REPLACEMENTS: dict[str, Callable[[ir.Graph, ir.Node], None]] = {"GroupNormalization": _group_norm}
