"""Convolutions in a form that cuDNN has fast kernels for."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .matching import DOMAIN, FIRST, LAST, array_of, constant, make, only_use, replace, source

_AFTER = [0, 0, 0, 0, 0, 0, 1, 1]


def widen_strided(graph: ir.Graph) -> int:
    """Replace a padding below and to the right, and a 3 x 3 convolution of stride 2, by a 4 x 4 convolution.

    Its first row and column are zeros, and it pads all sides by one: the same sums. Convolutions that pad two
    sides only are a hundred times slower than others in cuDNN (measured on an H100, channels first).
    """
    return sum(_widen(graph, node) for node in list(graph) if node.op_type == "Conv")


def _widen(graph: ir.Graph, node: ir.Node) -> bool:
    padding = source(node.inputs[0], "Pad")
    weight, numbers = node.inputs[1], array_of(node.inputs[1])
    if padding is None or weight is None or numbers is None or only_use(padding.outputs[0]) is not node:
        return False
    amounts = array_of(padding.inputs[1])
    mode = padding.attributes["mode"].as_string() if "mode" in padding.attributes else "constant"
    own = list(node.attributes["pads"].as_ints()) if "pads" in node.attributes else [0, 0, 0, 0]
    if amounts is None or amounts.tolist() != _AFTER or mode != "constant" or any(own):
        return False
    if numbers.shape[2:] != (3, 3) or list(node.attributes["strides"].as_ints()) != [2, 2]:
        return False
    filled = array_of(padding.inputs[2]) if len(padding.inputs) > 2 else None
    if filled is not None and filled.any():
        return False
    wide = constant(graph, f"{weight.name}_wide", np.pad(numbers, ((0, 0), (0, 0), (1, 0), (1, 0))))
    attributes = {**node.attributes, "pads": [1, 1, 1, 1], "kernel_shape": [4, 4]}
    new = make("Conv", [padding.inputs[0], wide, *node.inputs[2:]], node, attributes)
    replace(graph, node, [new], node.outputs[0])
    return True


def put_channels_last(graph: ir.Graph) -> int:
    """Replace half convolutions of maps by NhwcConv. ONNX Runtime cancels most of the transpositions.

    A bias is added by an operator of its own: the one that cuDNN adds it with takes three times as long.
    """
    return sum(_put_last(graph, node) for node in list(graph) if node.op_type == "Conv")


def _put_last(graph: ir.Graph, node: ir.Node) -> bool:
    weight, numbers = node.inputs[1], array_of(node.inputs[1])
    if weight is None or numbers is None or numbers.ndim != 4 or numbers.dtype != np.float16:
        return False
    turned = np.ascontiguousarray(numbers.transpose(LAST))
    last = make("Transpose", [node.inputs[0]], node, {"perm": LAST})
    inputs = [last.outputs[0], constant(graph, f"{weight.name}_nhwc", turned)]
    nodes = [last, make("NhwcConv", inputs, node, node.attributes, DOMAIN)]
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        nodes.append(make("Add", [nodes[-1].outputs[0], node.inputs[2]], node))
    nodes.append(make("Transpose", [nodes[-1].outputs[0]], node, {"perm": FIRST}))
    replace(graph, node, nodes, node.outputs[0])
    return True
