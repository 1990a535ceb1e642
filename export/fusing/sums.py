"""Sums of a few numbers. As reductions they leave most of a GPU idle."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .matching import FLOAT, array_of, constant, make, replace

#: The longest sums that are replaced. Longer ones keep a GPU busy.
_LONGEST = 32


def sum_by_product(graph: ir.Graph) -> int:
    """Replace sums over a short last axis by products with ones, in float32."""
    return sum(_sum(graph, node) for node in list(graph) if node.op_type == "ReduceSum")


def _sum(graph: ir.Graph, node: ir.Node) -> bool:
    value, axes = node.inputs[0], array_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if value is None or value.shape is None or value.dtype != FLOAT or axes is None:
        return False
    length = value.shape[-1]
    if (
        axes.tolist() not in ([-1], [len(value.shape) - 1])
        or not isinstance(length, int)
        or length > _LONGEST
    ):
        return False
    ones = constant(graph, f"ones_{length}_by_1", np.ones((length, 1), np.float32))
    nodes = [make("MatMul", [value, ones], node)]
    if "keepdims" in node.attributes and not node.attributes["keepdims"].as_int():
        last = constant(graph, "last_axis", np.array([-1], np.int64))
        nodes.append(make("Squeeze", [nodes[-1].outputs[0], last], node))
    replace(graph, node, nodes, node.outputs[0])
    return True
