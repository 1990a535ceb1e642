"""The gated linear unit of Stable Diffusion's transformers: half of the channels times GELU of the others."""

from __future__ import annotations

import onnx_ir as ir

from .matching import DOMAIN, array_of, make, only_use, rank, replace, source

#: Channels of both halves that ONNX Runtime has a kernel for.
_CHANNELS = (2560, 5120, 10240)


def fuse(graph: ir.Graph) -> int:
    """Replace a bias, a cut into halves, a GELU and a product by BiasSplitGelu: one pass instead of four."""
    return sum(_fuse(graph, node) for node in list(graph) if node.op_type == "Mul")


def _fuse(graph: ir.Graph, node: ir.Node) -> bool:
    gelu = source(node.inputs[1], "Gelu")
    cut = None if gelu is None else source(gelu.inputs[0], "Split")
    if gelu is None or cut is None or len(cut.outputs) != 2 or node.inputs[0] is not cut.outputs[0]:
        return False
    approximate = gelu.attributes["approximate"].as_string() if "approximate" in gelu.attributes else "none"
    if gelu.inputs[0] is not cut.outputs[1] or approximate != "none" or only_use(gelu.outputs[0]) is not node:
        return False
    added = source(cut.inputs[0], "Add")
    biases = [] if added is None else [one for one in added.inputs if array_of(one) is not None]
    if added is None or len(biases) != 1 or only_use(added.outputs[0]) is not cut:
        return False
    bias = array_of(biases[0])
    if bias is None or bias.ndim != 1 or bias.size not in _CHANNELS or not _is_last_axis(cut):
        return False
    value = next(one for one in added.inputs if one is not biases[0])
    new = make("BiasSplitGelu", [value, biases[0]], node, domain=DOMAIN)
    replace(graph, node, [new], node.outputs[0])
    return True


def _is_last_axis(cut: ir.Node) -> bool:
    value = cut.inputs[0]
    axis = cut.attributes["axis"].as_int() if "axis" in cut.attributes else 0
    # The operator takes three dimensions.
    return value is not None and rank(value) == 3 and axis in (-1, 2)
