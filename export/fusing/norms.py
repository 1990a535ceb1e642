"""Normalisations that take and give half precision, and compute in float32 inside."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .matching import (
    DOMAIN,
    FIRST,
    FLOAT,
    HALF,
    LAST,
    array_of,
    cast_to,
    constant,
    make,
    only_use,
    replace,
    source,
)


def fuse_layer_norms(graph: ir.Graph) -> int:
    """Let LayerNormalization read and write half numbers, where casts stand around it.

    Its attribute `stash_type` says that it computes in float32 all the same. Scale and bias become half.
    """
    return sum(_layer_norm(graph, node) for node in list(graph) if node.op_type == "LayerNormalization")


def fuse_group_norms(graph: ir.Graph) -> int:
    """Replace GroupNormalization between casts, and a SiLU after it, by GroupNorm.

    GroupNorm takes channels last, so there are transpositions around it. ONNX Runtime cancels them with
    those of convolutions, see `convolutions.put_channels_last`.
    """
    return sum(_group_norm(graph, node) for node in list(graph) if node.op_type == "GroupNormalization")


def _between_casts(node: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """Return the half value before a float32 node, and the half value after it."""
    up, down = source(node.inputs[0], "Cast"), only_use(node.outputs[0], "Cast")
    if up is None or down is None or not cast_to(up, FLOAT) or not cast_to(down, HALF):
        return None
    before = up.inputs[0]
    return (before, down.outputs[0]) if before is not None and before.dtype == HALF else None


def _layer_norm(graph: ir.Graph, node: ir.Node) -> bool:
    around = _between_casts(node)
    if around is None:
        return False
    numbers = []
    for value in node.inputs[1:]:
        array = array_of(value)
        if value is None or array is None:
            return False
        numbers.append(constant(graph, f"{value.name}_half", array.astype(np.float16)))
    new = make("LayerNormalization", [around[0], *numbers], node, node.attributes)
    replace(graph, node, [new], around[1])
    return True


def _group_norm(graph: ir.Graph, node: ir.Node) -> bool:
    around = _between_casts(node)
    scale = array_of(node.inputs[1])
    groups = node.attributes["num_groups"].as_int()
    # Its kernel takes pairs of channels: a group of one or three has none (seen in onnxruntime-gpu 1.31).
    if around is None or scale is None or (scale.size // groups) % 2:
        return False
    before, after = around
    activated = _silu(after)
    turned = make("Transpose", [before], node, {"perm": LAST})
    attributes = {
        "groups": groups,
        "epsilon": node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5,
        "activation": int(activated is not None),
        "channels_last": 1,
    }
    new = make("GroupNorm", [turned.outputs[0], *node.inputs[1:]], node, attributes, DOMAIN)
    back = make("Transpose", [new.outputs[0]], node, {"perm": FIRST})
    replace(graph, node, [turned, new, back], after if activated is None else activated)
    return True


def _silu(value: ir.Value) -> ir.Value | None:
    """Return value * sigmoid(value), if that is all that is done with a value."""
    users = {use.node.op_type: use.node for use in value.uses()}
    if len(list(value.uses())) != 2 or users.keys() != {"Sigmoid", "Mul"} or value.is_graph_output():
        return None
    product = only_use(users["Sigmoid"].outputs[0], "Mul")
    return product.outputs[0] if product is users["Mul"] else None
