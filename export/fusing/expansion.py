"""Fused operators, written with standard ones by their definition in ONNX Runtime's documentation.

A graph with fused operators runs on CUDA only. Expanded, it runs anywhere, and gives the same numbers within
rounding if the fused operators were given the right inputs and attributes.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .matching import DOMAIN, FIRST, FLOAT, HALF, LAST, constant, make, replace, source


def expand(model: ir.Model) -> None:
    """Replace every fused operator of a graph, in place."""
    for node in list(model.graph):
        if node.domain == DOMAIN:
            replace(model.graph, node, _EXPANSIONS[node.op_type](model.graph, node), node.outputs[0])
            model.graph.remove(node, safe=True)
    model.opset_imports.pop(DOMAIN, None)


def _attention(graph: ir.Graph, node: ir.Node) -> list[ir.Node]:
    """softmax(scale * q k' + bias) v for each head, with logits and softmax in float32."""
    heads, scale = node.attributes["num_heads"].as_int(), node.attributes["scale"].as_float()
    nodes: list[ir.Node] = []

    def add(operator: str, *inputs: ir.Value | None, **attributes: object) -> ir.Value:
        nodes.append(make(operator, inputs, node, attributes))
        return nodes[-1].outputs[0]

    cut = constant(graph, f"cut_into_{heads}_heads", np.array([0, 0, heads, -1], np.int64))
    query, key, value = (
        add("Transpose", add("Reshape", one, cut), perm=turned)
        for one, turned in zip(node.inputs[:3], ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)), strict=True)
    )
    # The scale goes to both sides, so that the product stays in range.
    share = constant(graph, f"share_{scale!r}", np.array(np.sqrt(scale), np.float16))
    product = add("MatMul", add("Mul", query, share), add("Mul", key, share))
    logits = add("Cast", product, to=FLOAT)
    if len(node.inputs) > 5 and node.inputs[5] is not None:
        logits = add("Add", logits, add("Cast", node.inputs[5], to=FLOAT))
    shares = add("Cast", add("Softmax", logits, axis=-1), to=HALF)
    joined = add("Transpose", add("MatMul", shares, value), perm=(0, 2, 1, 3))
    add("Reshape", joined, constant(graph, "heads_together", np.array([0, 0, -1], np.int64)))
    return nodes


def _skip_group_norm(graph: ir.Graph, node: ir.Node) -> list[ir.Node]:
    """GroupNorm of the sum of three: a map, a skip (N, H, W, C) or (N, C), and a bias (C,)."""
    value, skip = node.inputs[0], node.inputs[3]
    axes = constant(graph, "rows_and_columns", np.array([1, 2], np.int64))
    nodes = []
    if source(skip, "Transpose") is None:
        # `export.fusing.skips` gives whole maps through a transposition, and (N, C) otherwise.
        nodes.append(make("Unsqueeze", [skip, axes], node))
        skip = nodes[-1].outputs[0]
    nodes.append(make("Add", [value, skip], node))
    nodes.append(make("Add", [nodes[-1].outputs[0], node.inputs[4]], node))
    total = nodes[-1].outputs[0]
    if len(node.outputs) > 1:
        ir.convenience.replace_all_uses_with(node.outputs[1], total)
    return nodes + _group_norm(graph, node, total)


def _group_norm(graph: ir.Graph, node: ir.Node, value: ir.Value | None = None) -> list[ir.Node]:
    """GroupNormalization of channels that come last, in float32, with a SiLU if `activation` is 1."""
    nodes: list[ir.Node] = []
    value = node.inputs[0] if value is None else value

    def add(operator: str, *inputs: ir.Value | None, **attributes: object) -> ir.Value:
        nodes.append(make(operator, inputs, node, attributes))
        return nodes[-1].outputs[0]

    first = add("Cast", add("Transpose", value, perm=FIRST), to=FLOAT)
    found = add(
        "GroupNormalization",
        first,
        *node.inputs[1:3],
        num_groups=node.attributes["groups"].as_int(),
        epsilon=node.attributes["epsilon"].as_float(),
    )
    half = add("Cast", found, to=HALF)
    if node.attributes["activation"].as_int():
        half = add("Mul", half, add("Sigmoid", half))
    add("Transpose", half, perm=LAST)
    return nodes


def _convolution(graph: ir.Graph, node: ir.Node) -> list[ir.Node]:
    """Conv of maps and weights whose channels come last."""
    nodes = [make("Transpose", [one], node, {"perm": FIRST}) for one in node.inputs[:2]]
    inputs = [nodes[0].outputs[0], nodes[1].outputs[0], *node.inputs[2:]]
    nodes.append(make("Conv", inputs, node, node.attributes))
    return [*nodes, make("Transpose", [nodes[-1].outputs[0]], node, {"perm": LAST})]


def _split_gelu(graph: ir.Graph, node: ir.Node) -> list[ir.Node]:
    """(x + bias)[..., : D / 2] * gelu((x + bias)[..., D / 2 :])."""
    added = make("Add", node.inputs, node)
    halves = ir.node("Split", added.outputs, attributes={"axis": -1, "num_outputs": 2}, num_outputs=2)
    gelu = make("Gelu", halves.outputs[1:], node)
    return [added, halves, gelu, make("Mul", [halves.outputs[0], gelu.outputs[0]], node)]


_EXPANSIONS = {
    "BiasSplitGelu": _split_gelu,
    "NhwcConv": _convolution,
    "MultiHeadAttention": _attention,
    "GroupNorm": _group_norm,
    "SkipGroupNorm": _skip_group_norm,
}
