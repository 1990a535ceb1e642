"""Runs two forms of one graph and compares them node by node."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from ..marked_graph import run_marked
from ..parity import relative_l2

#: Bytes of the outputs that are compared in one run. Of the first run nobody knows, so it is short.
_BUDGET = 512 * 2**20
_FIRST, _MOST = 8, 512
#: The half copy of a stage is a module in a module.
_INNER = "stage/"


@dataclass(frozen=True)
class NodeError:
    """How far a node is from the same node in float32.

    Attributes:
        module: path of the module that it belongs to, like `features.unet.conv_in`.
        operator: its ONNX operator.
        name: its name in the graph.
        given: the largest relative L2 distance of its inputs.
        found: that of its output. Infinite if a number is not finite where the float32 graph has one.
        largest: the largest magnitude of its output in float32. Half precision ends at 65,504.
        not_finite: elements that are not finite, where the float32 graph has finite ones.
    """

    module: str
    operator: str
    name: str
    given: float
    found: float
    largest: float
    not_finite: int


def compare_nodes(half: Path, wide: Path, inputs: Mapping[str, np.ndarray]) -> tuple[NodeError, ...]:
    """Run both graphs on the same inputs and compare the output of every node that gives numbers.

    Nodes run without optimisation, and a few are compared in one run, so that memory suffices.

    Args:
        half: a graph.
        wide: the same graph in float32, with the same names, see `export.debugging.widening`.
        inputs: for `half`. Half-precision ones are widened for `wide`.

    Returns:
        The nodes, in the order that they run.
    """
    nodes = [node for node in ir.load(half).graph if node.outputs and node.outputs[0].name]
    widened = {
        name: array.astype(np.float32) if array.dtype == np.float16 else array
        for name, array in inputs.items()
    }
    distances: dict[str, float] = {}
    errors: list[NodeError] = []
    done, count = 0, _FIRST
    while done < len(nodes):
        some = nodes[done : done + count]
        names = [str(node.outputs[0].name) for node in some]
        found, expected = run_marked(half, names, inputs), run_marked(wide, names, widened)
        for node, name, one, other in zip(some, names, found, expected, strict=True):
            if np.asarray(one).dtype.kind != "f":
                continue
            error = _error(node, one, other, distances)
            distances[name] = error.found
            errors.append(error)
        done += len(some)
        largest = max(np.asarray(array).nbytes for array in (*found, *expected))
        count = max(1, min(_MOST, _BUDGET // max(1, 2 * largest)))
    return tuple(errors)


def entering(errors: Sequence[NodeError], tolerance: float) -> tuple[NodeError, ...]:
    """Return the nodes whose output is beyond the tolerance although no input is, in the order they run."""
    return tuple(error for error in errors if error.found > tolerance >= error.given)


def steepest(errors: Sequence[NodeError], count: int) -> tuple[NodeError, ...]:
    """Return the `count` nodes that multiply the distance by most, in the order they run.

    Distances below the rounding of half precision, 2^-11, count as that: from there on it is no wonder.
    """
    rounding = 2.0**-11
    ratios = [error.found / max(error.given, rounding) for error in errors]
    # From infinity on, everything is infinite.
    order = sorted(range(len(errors)), key=lambda n: -1.0 if math.isnan(ratios[n]) else -ratios[n])
    return tuple(errors[n] for n in sorted(order[:count]))


def _error(
    node: ir.Node, found: np.ndarray, expected: np.ndarray, distances: Mapping[str, float]
) -> NodeError:
    # Where attention is masked, both have minus infinity.
    both = ~np.isfinite(expected)
    wrong = int(np.count_nonzero(~np.isfinite(found) & ~both))
    if both.any():
        found, expected = np.where(both, 0, found), np.where(both, 0, expected)
    path, _, operator = (node.name or "").removeprefix(_INNER).rpartition("/")
    return NodeError(
        module=path.replace("/", "."),
        operator=node.op_type,
        name=node.name or operator,
        given=max(
            (distances.get(str(value.name), 0.0) for value in node.inputs if value is not None), default=0.0
        ),
        found=math.inf if wrong else relative_l2(found, expected),
        largest=float(np.abs(expected).max(initial=0)),
        not_finite=wrong,
    )
