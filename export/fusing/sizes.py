"""Sizes that a graph computes with, counted on the device.

A graph with open sizes asks for them (`Shape`), and ONNX Runtime works out on the host what follows from
them. Numbers that only say how large a tensor is may stay there. Those that operators of the device compute
with are copied to it in every run, from memory of the host that is used for something else afterwards. A run
with such copies cannot be recorded as a CUDA graph. So a size becomes a sum of so many ones, which the device
counts.

Which operators run on the host is what ONNX Runtime's provider for CUDA decides (`GetCpuPreferredNodes`):
those whose inputs are all on the host, or constants of at most 100 numbers, unless an input is half precision
or is read on the host by the operator of the device, too.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from odise_trt.errors import ExportError

from .matching import FLOAT, HALF, constant, make

_SMALL = 100
_ASKS = ("Shape", "Size")
#: Operator -> the inputs that its kernel of the device reads on the host.
_READ_ON_HOST = {
    "ConstantOfShape": (0,),
    "CumSum": (1,),
    "Expand": (1,),
    "Pad": (1, 2, 3),
    "Range": (0, 1, 2),
    "ReduceL2": (1,),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceSum": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
}


def count_on_device(graph: ir.Graph) -> int:
    """Let the device count the sizes that it computes with. Return how many inputs of operators changed.

    Raises:
        ExportError: an operator of the device needs something else of the host, or the host needs something
            of the device.
    """
    hosted = _on_host(graph)
    made: dict[ir.Value, ir.Value] = {}
    crossings = list(_crossings(graph, hosted))
    for node, index in crossings:
        value = node.inputs[index]
        assert value is not None
        if value not in hosted:
            raise ExportError(
                f"{node.op_type} {node.name} reads {value.name} on the host, and the device computes it",
                "a run of such a graph cannot be recorded: compute it from sizes alone",
            )
        node.replace_input_with(index, _counted(graph, value, hosted, made))
    return len(crossings)


def _on_host(graph: ir.Graph) -> set[ir.Value]:
    """Return what the host works out. The nodes of the graph are in order."""
    hosted: set[ir.Value] = set()
    for node in graph:
        if node.op_type in _ASKS or _runs_on_host(node, hosted):
            hosted.update(node.outputs)
    return hosted


def _runs_on_host(node: ir.Node, hosted: set[ir.Value]) -> bool:
    if not any(value in hosted for value in node.inputs):
        return False
    reads = _READ_ON_HOST.get(node.op_type, ())
    for index, value in enumerate(node.inputs):
        if value is None or _is_small(value):
            continue
        if value not in hosted or index in reads or value.dtype == HALF:
            return False
    return True


def _is_small(value: ir.Value) -> bool:
    return value.const_value is not None and value.const_value.size <= _SMALL and value.dtype != HALF


def _crossings(graph: ir.Graph, hosted: set[ir.Value]) -> Iterator[tuple[ir.Node, int]]:
    """Yield the inputs of operators of the device that would be copied from the host or to it."""
    for node in graph:
        if node.op_type in _ASKS or any(value in hosted for value in node.outputs):
            continue
        reads = _READ_ON_HOST.get(node.op_type, ())
        for index, value in enumerate(node.inputs):
            if value is None or value.const_value is not None:
                continue
            if (value in hosted) != (index in reads):
                yield node, index


def _counted(
    graph: ir.Graph, value: ir.Value, hosted: set[ir.Value], made: dict[ir.Value, ir.Value]
) -> ir.Value:
    """Return a value of the host, computed on the device from sizes that are counted there."""
    if value in made:
        return made[value]
    node = value.producer()
    assert node is not None
    if node.op_type == "Cast" and value.dtype == FLOAT and node.inputs[0] in hosted:
        made[value] = _sum_of_ones(graph, node)
    elif value.dtype == FLOAT and len(node.outputs) == 1:
        inputs = [
            _counted(graph, one, hosted, made) if one is not None and one in hosted else one
            for one in node.inputs
        ]
        twin = make(node.op_type, inputs, node, dict(node.attributes))
        _like(twin.outputs[0], value)
        graph.insert_after(node, twin)
        made[value] = twin.outputs[0]
    else:
        raise ExportError(
            f"{node.op_type} {node.name} works out {value.name} on the host, and the device computes with it",
            "a run of such a graph cannot be recorded: cast the size to float32 first",
        )
    return made[value]


def _sum_of_ones(graph: ir.Graph, cast: ir.Node) -> ir.Value:
    """Return a size as a number in float32: exact up to 2^24."""
    size = cast.inputs[0]
    keeps = 0 if size is not None and size.shape is not None and len(size.shape) == 0 else 1
    whole = constant(graph, "as_a_vector", np.array([-1], np.int64))
    vector = make("Reshape", [size, whole], cast)
    one = ir.tensor(np.ones(1, np.float32), name="one")
    ones = make("ConstantOfShape", [vector.outputs[0]], cast, {"value": one})
    total = make("ReduceSum", [ones.outputs[0]], cast, {"keepdims": keeps})
    vector.outputs[0].type = ir.TensorType(ir.DataType.INT64)
    ones.outputs[0].type = ir.TensorType(FLOAT)
    _like(total.outputs[0], cast.outputs[0])
    graph.insert_after(cast, [vector, ones, total])
    return total.outputs[0]


def _like(value: ir.Value, other: ir.Value) -> None:
    value.type, value.shape = other.type, other.shape
