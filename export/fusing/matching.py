"""Looking around in a graph, and putting nodes into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

#: The domain of ONNX Runtime's own operators.
DOMAIN = "com.microsoft"
#: Permutations that put the channels of maps (N, C, H, W) last, and first again.
LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
HALF, FLOAT = ir.DataType.FLOAT16, ir.DataType.FLOAT


def source(value: ir.Value | None, operator: str) -> ir.Node | None:
    """Return the node of an operator that makes a value. None: another one does, or none."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == operator else None


def only_use(value: ir.Value, operator: str | None = None) -> ir.Node | None:
    """Return the one node that takes a value. None: there are several or none, or it is another operator."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    node = uses[0].node
    return node if operator in (None, node.op_type) else None


def cast_to(node: ir.Node | None, dtype: ir.DataType) -> bool:
    """Whether a node is a cast to a dtype."""
    return node is not None and node.op_type == "Cast" and node.attributes["to"].as_int() == dtype


def permutation(node: ir.Node | None) -> tuple[int, ...]:
    """Return the permutation of a transposition. (): it is something else."""
    return (
        tuple(node.attributes["perm"].as_ints()) if node is not None and node.op_type == "Transpose" else ()
    )


def array_of(value: ir.Value | None) -> np.ndarray | None:
    """Return the numbers of a constant. None: it is none."""
    return None if value is None or value.const_value is None else value.const_value.numpy()


def rank(value: ir.Value) -> int:
    """Return the number of dimensions. -1: it is not known."""
    return -1 if value.shape is None else len(value.shape)


def constant(graph: ir.Graph, name: str, numbers: np.ndarray) -> ir.Value:
    """Return the initializer of a name. It is made if there is none."""
    if name not in graph.initializers:
        value = ir.Value(name=name, const_value=ir.tensor(numbers, name=name))
        value.shape = ir.Shape(numbers.shape)
        value.type = ir.TensorType(ir.DataType.from_numpy(numbers.dtype))
        graph.register_initializer(value)
    return graph.initializers[name]


def make(
    operator: str,
    inputs: Sequence[ir.Value | None],
    like: ir.Node,
    attributes: Mapping[str, Any] | None = None,
    domain: str = "",
) -> ir.Node:
    """Make a node with one output. It belongs to the module of the node `like`."""
    return ir.node(
        operator, inputs, attributes=attributes, domain=domain, metadata_props=dict(like.metadata_props)
    )


def replace(graph: ir.Graph, place: ir.Node, nodes: Sequence[ir.Node], old: ir.Value) -> None:
    """Put nodes before `place`. The output of the last one takes the place of `old`."""
    new = nodes[-1].outputs[0]
    new.shape, new.type = old.shape, old.type
    graph.insert_before(place, nodes)
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
