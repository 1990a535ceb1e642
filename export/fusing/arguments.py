"""Operators whose kernels copy arguments from the host in every run, in a form that does not.

Copies from the host keep a run from being recorded as a CUDA graph, see `export.fusing.sizes`. These are the
kernels of onnxruntime-gpu 1.31: Split copies sizes if its parts are not alike, MatMul copies an address for
each matrix if matrices of one side are used several times.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .matching import constant, make, rank, replace


def pass_by_value(graph: ir.Graph) -> int:
    """Replace splits into unequal parts by slices, and write out which matrices are used several times."""
    splits = [node for node in graph if node.op_type == "Split" and _is_unequal(node)]
    for node in splits:
        _slice(graph, node)
    products = [node for node in graph if node.op_type == "MatMul" and _written_out(graph, node)]
    return len(splits) + len(products)


def _is_unequal(node: ir.Node) -> bool:
    sizes = node.inputs[1] if len(node.inputs) > 1 else None
    if sizes is None:
        return False
    return sizes.const_value is None or len(set(sizes.const_value.numpy().tolist())) > 1


def _slice(graph: ir.Graph, node: ir.Node) -> None:
    """A part begins where the one before it ends."""
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    axes = constant(graph, f"axis_{axis}", np.array([axis], np.int64))
    start = _place(graph, 0)
    for number, output in enumerate(list(node.outputs)):
        nodes: list[ir.Node] = []
        end = _end(graph, node, number, start, nodes)
        part = make("Slice", [node.inputs[0], start, end, axes], node)
        replace(graph, node, [*nodes, part], output)
        start = end
    graph.remove(node, safe=True)


def _end(graph: ir.Graph, node: ir.Node, number: int, start: ir.Value, nodes: list[ir.Node]) -> ir.Value:
    """Return where a part ends, as a vector of one number."""
    sizes = node.inputs[1]
    assert sizes is not None
    if sizes.const_value is not None:
        return _place(graph, int(sizes.const_value.numpy()[: number + 1].sum()))
    nodes.append(make("Slice", [sizes, _place(graph, number), _place(graph, number + 1)], node))
    nodes.append(make("Add", [start, nodes[-1].outputs[0]], node))
    for one in nodes:
        one.outputs[0].type, one.outputs[0].shape = ir.TensorType(ir.DataType.INT64), ir.Shape([1])
    return nodes[-1].outputs[0]


def _place(graph: ir.Graph, number: int) -> ir.Value:
    return constant(graph, f"place_{number}", np.array([number], np.int64))


def _written_out(graph: ir.Graph, node: ir.Node) -> bool:
    left, right = node.inputs[:2]
    if left is None or right is None or rank(right) < 3 or rank(left) < 2:
        # Many matrices times one are a product of two matrices.
        return False
    if _batch(left) == _batch(right):
        return False
    nodes: list[ir.Node] = []
    # Each side gets the matrices of the other one. What it has already stays as it is.
    sides = [_with_batch_of(graph, right, left, node, nodes), _with_batch_of(graph, left, right, node, nodes)]
    replace(graph, node, [*nodes, make("MatMul", sides, node)], node.outputs[0])
    return True


def _batch(value: ir.Value) -> list[object]:
    """Return the dimensions before those of the matrices. Those in front that are 1 are left out."""
    assert value.shape is not None
    sizes: list[object] = [size if isinstance(size, int) else size.value for size in value.shape[:-2]]
    while sizes and sizes[0] == 1:
        sizes.pop(0)
    return sizes


def _with_batch_of(
    graph: ir.Graph, model: ir.Value, value: ir.Value, like: ir.Node, nodes: list[ir.Node]
) -> ir.Value:
    """Return a value with as many matrices as `model` has. It is the value itself if `model` has one."""
    if not _batch(model):
        return value
    batch = make("Shape", [model], like, {"start": 0, "end": -2})
    ones = constant(graph, "one_matrix", np.array([1, 1], np.int64))
    size = make("Concat", [batch.outputs[0], ones], like, {"axis": 0})
    wide = make("Expand", [value, size.outputs[0]], like)
    wide.outputs[0].type = value.type
    nodes += [batch, size, wide]
    return wide.outputs[0]
