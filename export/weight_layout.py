"""Cuts and turns weights in the file, where a graph would do it whenever it is opened.

An engine can map a weight that a product reads as it stands in the file. A part or a transpose of it would
be a copy in memory: half of CLIP, whose attention holds three matrices in one. Numbers do not change, and no
byte is added: a weight that something else reads whole stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir


def rearrange(model: ir.Model) -> None:
    """Replace slices and transposes of weights by weights, in place."""
    graph = model.graph
    for node in [node for node in graph if node.op_type in _LAYOUTS]:
        if not _reads_a_weight(node):
            continue
        constants = [None if value is None else value.const_value for value in node.inputs]
        arrays = [None if constant is None else constant.numpy() for constant in constants]
        result = np.ascontiguousarray(_LAYOUTS[node.op_type](node, arrays))
        output = node.outputs[0]
        tensor = ir.tensor(result, name=output.name)
        weight = ir.Value(
            name=output.name,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(result.shape),
            const_value=tensor,
        )
        output.replace_all_uses_with(weight)
        graph.remove(node, safe=True)
        graph.register_initializer(weight)


def _reads_a_weight(node: ir.Node) -> bool:
    source, output = node.inputs[0], node.outputs[0]
    return (
        all(
            value is None or (value.is_initializer() and value.const_value is not None)
            for value in node.inputs
        )
        and source is not None
        and not output.is_graph_output()
        and all(consumer.op_type in _LAYOUTS for consumer in source.consumers())
    )


def _sliced(node: ir.Node, arrays: list[Any]) -> np.ndarray:
    data: np.ndarray = arrays[0]
    starts, ends = arrays[1:3]
    axes = arrays[3] if len(arrays) > 3 and arrays[3] is not None else range(len(starts))
    steps = arrays[4] if len(arrays) > 4 and arrays[4] is not None else [1] * len(starts)
    places = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # ONNX clamps to the axis, as Python does. Beyond it, only a step back needs "before the first".
        places[axis] = slice(
            int(start), None if step < 0 and end < -data.shape[axis] else int(end), int(step)
        )
    return data[tuple(places)]


def _transposed(node: ir.Node, arrays: list[Any]) -> np.ndarray:
    order = node.attributes["perm"].as_ints() if "perm" in node.attributes else None
    turned: np.ndarray = np.transpose(arrays[0], order)
    return turned


_LAYOUTS: dict[str, Callable[[ir.Node, list[Any]], np.ndarray]] = {
    "Slice": _sliced,
    "Transpose": _transposed,
}
