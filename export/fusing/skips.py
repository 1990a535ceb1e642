"""Group normalisations that add first: the bias of a convolution, the embedding of a time step, a skip.

Each of these is a pass over the whole map otherwise, and the bias of a convolution is one in cuDNN, too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .matching import DOMAIN, FIRST, LAST, array_of, constant, make, only_use, rank, source


def fuse(graph: ir.Graph) -> int:
    """Replace sums before GroupNorm, and the bias of the convolution that they come from, by SkipGroupNorm.

    It runs after the rule `group_norm`. Where the sum is used elsewhere, too, it is the second output.
    """
    for node in list(graph):
        # Residual blocks of diffusers divide their sum by a number that is 1.
        divisor = array_of(node.inputs[1]) if node.op_type == "Div" else None
        if divisor is not None and divisor.size == 1 and divisor.item() == 1:
            assert node.inputs[0] is not None
            ir.convenience.replace_all_uses_with(node.outputs[0], node.inputs[0], replace_graph_outputs=True)
    return sum(_fuse(graph, node) for node in list(graph) if node.op_type == "GroupNorm")


def _fuse(graph: ir.Graph, node: ir.Node) -> bool:
    turned = source(node.inputs[0], "Transpose")
    total = None if turned is None else turned.inputs[0]
    if turned is None or total is None or total.is_graph_output():
        return False
    added = source(total, "Add")
    sides = [total] if added is None else list(added.inputs)
    place = next((n for n, one in enumerate(sides) if _own_convolution(one) is not None), None)
    if place is None:
        return False
    convolution = _own_convolution(sides[place])
    assert convolution is not None
    nodes: list[ir.Node] = []
    skip = _zeros(graph, node, convolution, nodes) if added is None else _skip(sides[1 - place], node, nodes)
    if skip is None or (added is None and only_use(total) is not turned):
        return False
    bare = make("Conv", convolution.inputs[:2], convolution, convolution.attributes)
    bare.outputs[0].shape, bare.outputs[0].type = convolution.outputs[0].shape, convolution.outputs[0].type
    last = make("Transpose", [bare.outputs[0]], node, {"perm": LAST})
    new = ir.node(
        "SkipGroupNorm",
        [last.outputs[0], *node.inputs[1:3], skip, convolution.inputs[2]],
        attributes=dict(node.attributes),
        domain=DOMAIN,
        num_outputs=2,
        metadata_props=dict(node.metadata_props),
    )
    first = make("Transpose", [new.outputs[1]], node, {"perm": FIRST})
    graph.insert_before(node, [*nodes, bare, last, new])
    new.outputs[0].shape, new.outputs[0].type = node.outputs[0].shape, node.outputs[0].type
    ir.convenience.replace_all_uses_with(node.outputs[0], new.outputs[0])
    others = [use for use in total.uses() if use.node is not turned]
    if others:
        first.outputs[0].shape, first.outputs[0].type = total.shape, total.type
        graph.insert_after(new, [first])
        for user, index in others:
            user.replace_input_with(index, first.outputs[0])
    else:
        # An output that nobody takes has no name, and is not computed.
        new.outputs[1].name = ""
    return True


def _own_convolution(value: ir.Value | None) -> ir.Node | None:
    """Return the convolution with a bias that makes a value which is used once."""
    node = source(value, "Conv")
    if node is None or value is None or len(node.inputs) < 3 or node.inputs[2] is None:
        return None
    return node if only_use(value) is not None else None


def _skip(value: ir.Value | None, like: ir.Node, nodes: list[ir.Node]) -> ir.Value | None:
    """Return what is added, as SkipGroupNorm takes it: (N, H, W, C), or (N, C) for all places alike."""
    if value is None:
        return None
    before = source(value, "Unsqueeze")
    axes = None if before is None else array_of(before.inputs[1])
    if before is not None and axes is not None and sorted(axes.tolist()) in ([2, 3], [-2, -1]):
        return before.inputs[0]
    if rank(value) != 4 or value.shape is None or value.shape[2] == 1:
        return None
    nodes.append(make("Transpose", [value], like, {"perm": LAST}))
    return nodes[-1].outputs[0]


def _zeros(graph: ir.Graph, like: ir.Node, convolution: ir.Node, nodes: list[ir.Node]) -> ir.Value | None:
    """Return zeros (N, C), where nothing but the bias is added."""
    bias = array_of(convolution.inputs[2])
    if bias is None:
        return None
    batch = make("Shape", [graph.inputs[0]], like, {"start": 0, "end": 1})
    channels = constant(graph, f"channels_{bias.size}", np.array([bias.size], np.int64))
    size = make("Concat", [batch.outputs[0], channels], like, {"axis": 0})
    zero = constant(graph, f"zeros_1_by_{bias.size}_{bias.dtype}", np.zeros((1, bias.size), bias.dtype))
    zeros = make("Expand", [zero, size.outputs[0]], like)
    nodes += [batch, size, zeros]
    return zeros.outputs[0]
