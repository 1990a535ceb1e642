"""Attention, as one operator. ONNX Runtime runs it without writing the matrix of all pairs to memory."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .matching import (
    DOMAIN,
    FLOAT,
    HALF,
    array_of,
    cast_to,
    constant,
    make,
    only_use,
    permutation,
    rank,
    replace,
    source,
)

_HEADS_BEFORE_ROWS = (0, 2, 1, 3)
_TURNED_KEYS = (0, 2, 3, 1)
_LAST_TWO = (0, 1, 3, 2)


def fuse(graph: ir.Graph) -> int:
    """Replace products with a softmax between them by MultiHeadAttention.

    The pattern is that of `export.precision`: half operands of both products, float32 logits, and half
    probabilities. Query, key and value are cut into heads before, and the result is put together after.
    """
    return sum(_fuse(graph, node) for node in list(graph) if node.op_type == "Softmax")


def _fuse(graph: ir.Graph, softmax: ir.Node) -> bool:
    down = only_use(softmax.outputs[0])
    if down is None or not cast_to(down, HALF):
        return False
    weighted = only_use(down.outputs[0], "MatMul")
    logits, mask = _logits(softmax.inputs[0])
    if weighted is None or logits is None:
        return False
    query, scale = _unscaled(logits.inputs[0])
    key, scale_of_key = _unscaled(logits.inputs[1])
    turned = _TURNED_KEYS
    if (turn := source(key, "Transpose")) is not None and permutation(turn) == _LAST_TWO:
        # The keys were multiplied before they were turned.
        key, factor = _unscaled(turn.inputs[0])
        turned, scale_of_key = _HEADS_BEFORE_ROWS, scale_of_key * factor
    parts = [
        _uncut(value, order)
        for value, order in (
            (query, _HEADS_BEFORE_ROWS),
            (key, turned),
            (weighted.inputs[1], _HEADS_BEFORE_ROWS),
        )
    ]
    joined = _joined(weighted.outputs[0])
    if None in parts or joined is None:
        return False
    cut = parts[0]
    assert cut is not None
    heads = cut.outputs[0].shape[2] if cut.outputs[0].shape is not None else None
    if not isinstance(heads, int):
        return False
    nodes: list[ir.Node] = []
    inputs: list[ir.Value | None] = []
    for part in parts:
        assert part is not None
        whole = part.inputs[0]
        assert whole is not None
        if rank(whole) != 3:
            flat = constant(graph, "heads_together", np.array([0, 0, -1], np.int64))
            nodes.append(make("Reshape", [part.outputs[0], flat], softmax))
            whole = nodes[-1].outputs[0]
        inputs.append(whole)
    if mask is not None:
        nodes.append(make("Cast", [mask], softmax, {"to": HALF}))
        inputs += [None, None, nodes[-1].outputs[0]]
    attributes = {"num_heads": heads, "scale": scale * scale_of_key}
    nodes.append(make("MultiHeadAttention", inputs, softmax, attributes, DOMAIN))
    replace(graph, weighted, nodes, joined)
    return True


def _logits(value: ir.Value | None) -> tuple[ir.Node | None, ir.Value | None]:
    """Return the product that logits come from, and what is added to them as a mask."""
    mask = None
    added = source(value, "Add")
    if added is not None:
        sides = [source(one, "Cast") for one in added.inputs]
        product = next((n for n, one in enumerate(sides) if one and source(one.inputs[0], "MatMul")), None)
        if product is None:
            return None, None
        value, mask = added.inputs[product], added.inputs[1 - product]
        if mask is None or rank(mask) != 4:
            return None, None
    up = source(value, "Cast")
    if up is None or not cast_to(up, FLOAT):
        return None, None
    return source(up.inputs[0], "MatMul"), mask


def _unscaled(value: ir.Value | None) -> tuple[ir.Value | None, float]:
    """Return what a value is before it is multiplied by numbers, and their product."""
    scale = 1.0
    while product := source(value, "Mul"):
        arrays = [array_of(one) for one in product.inputs]
        place = next((n for n, one in enumerate(arrays) if one is not None and one.size == 1), None)
        if place is None:
            break
        factor = arrays[place]
        assert factor is not None
        scale *= float(factor.reshape(()))
        value = product.inputs[1 - place]
    return value, scale


def _uncut(value: ir.Value | None, turned: tuple[int, ...]) -> ir.Node | None:
    """Return the reshape that cuts (B, L, H * D) into heads (B, L, H, D), before they are turned."""
    transposition = source(value, "Transpose")
    if transposition is None or permutation(transposition) != turned:
        return None
    return source(transposition.inputs[0], "Reshape")


def _joined(value: ir.Value) -> ir.Value | None:
    """Return where the heads of a result stand together again: (B, L, H * D)."""
    transposition = only_use(value, "Transpose")
    if transposition is None or permutation(transposition) != _HEADS_BEFORE_ROWS:
        return None
    together = only_use(transposition.outputs[0], "Reshape")
    return None if together is None or rank(together.outputs[0]) != 3 else together.outputs[0]
