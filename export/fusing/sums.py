"""Sums of a few numbers. As reductions they leave most of a GPU idle."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .matching import FLOAT, array_of, constant, make, only_use, replace

#: The longest sums that are replaced. Longer ones keep a GPU busy.
_LONGEST = 32


def sum_points(graph: ir.Graph) -> int:
    """Sample the points of deformable attention one by one, and add them.

    With all points of a query beside each other, their weighted sum is a product with ones of four times as
    many numbers, which takes as long as sampling them.
    """
    return sum(_points(graph, node) for node in list(graph) if node.op_type == "GridSample")


def _points(graph: ir.Graph, node: ir.Node) -> bool:
    grid = node.inputs[1]
    weighed = only_use(node.outputs[0], "Mul")
    total = None if weighed is None else only_use(weighed.outputs[0], "ReduceSum")
    if weighed is None or total is None or grid is None or grid.shape is None:
        return False
    axes = array_of(total.inputs[1]) if len(total.inputs) > 1 else None
    share = next((one for one in weighed.inputs if one is not node.outputs[0]), None)
    count = grid.shape[2]
    if axes is None or axes.tolist() not in ([-1], [3]) or not isinstance(count, int) or count > _LONGEST:
        return False
    if share is None or share.shape is None or share.shape[-1] != count:
        return False
    places = _parts(grid, 2, count, node)
    shares = _parts(share, 3, count, node)
    nodes = [places, shares]
    sum_: ir.Value | None = None
    for place, part in zip(places.outputs, shares.outputs, strict=True):
        sampled = make("GridSample", [node.inputs[0], place], node, node.attributes)
        term = make("Mul", [sampled.outputs[0], part], weighed)
        nodes += [sampled, term]
        if sum_ is not None:
            nodes.append(make("Add", [sum_, term.outputs[0]], total))
        sum_ = nodes[-1].outputs[0]
    if "keepdims" in total.attributes and not total.attributes["keepdims"].as_int():
        last = constant(graph, "last_axis", np.array([-1], np.int64))
        nodes.append(make("Squeeze", [sum_, last], total))
    replace(graph, total, nodes, total.outputs[0])
    return True


def _parts(value: ir.Value, axis: int, count: int, like: ir.Node) -> ir.Node:
    return ir.node(
        "Split",
        [value],
        attributes={"axis": axis, "num_outputs": count},
        num_outputs=count,
        metadata_props=dict(like.metadata_props),
    )


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
