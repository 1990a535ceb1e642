"""Operators that an engine has kernels for, in place of the standard ones that they compute together.

They are those of ONNX Runtime's domain `com.microsoft`, as its provider for CUDA has them. Some rules take
standard operators in place of others that are slower there. A rule is a function that looks for a pattern in
a graph, replaces it, and returns how often. `expansion` writes the fused operators with standard ones again,
by their definition: so a graph can be compared where no GPU is.

Rules know half-precision graphs as `export.precision` makes them, with float32 around softmax and
normalisations. A fused operator computes these parts in float32, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import onnx_ir as ir
from onnx_ir.passes import common as passes

from odise_trt.backends.registry import ON_DEVICE, SIZES
from odise_trt.errors import ExportError

from . import arguments, attention, convolutions, gated, norms, sizes, skips, sums
from .matching import DOMAIN

__all__ = ["DOMAIN", "RULES", "fuse", "label"]

#: Name of a rule, as in `odise_trt.backends.registry.BackendEntry.fuses` -> the rule. They run in this order.
RULES: Mapping[str, Callable[[ir.Graph], int]] = {
    "attention": attention.fuse,
    "layer_norm": norms.fuse_layer_norms,
    "group_norm": norms.fuse_group_norms,
    "skip_group_norm": skips.fuse,
    "strided_conv": convolutions.widen_strided,
    "channels_last": convolutions.put_channels_last,
    "split_gelu": gated.fuse,
    "point_sum": sums.sum_points,
    "short_sum": sums.sum_by_product,
    "by_value": arguments.pass_by_value,
    "device_sizes": sizes.count_on_device,
}


def fuse(model: ir.Model, wanted: Iterable[str]) -> dict[str, int]:
    """Apply rules to a graph, in place. Return rule -> how often it was applied.

    Args:
        model: after `export.onnx_graph.simplify`, with shapes and types of its values.
        wanted: names of rules.

    Raises:
        ExportError: there is no such rule, or the device cannot count a size that the graph computes with.
    """
    wanted = set(wanted)
    if unknown := wanted - RULES.keys():
        raise ExportError(
            f"there is no rule {', '.join(sorted(unknown))}", f"rules of export/fusing: {', '.join(RULES)}"
        )
    applied = {}
    for name, rule in RULES.items():
        if name in wanted:
            applied[name] = rule(model.graph)
            # What was replaced would count as a use of what it took.
            passes.RemoveUnusedNodesPass()(model)
    if applied:
        passes.CommonSubexpressionEliminationPass()(model)
        passes.TopologicalSortPass()(model)
    if any(node.domain == DOMAIN for node in model.graph):
        model.opset_imports[DOMAIN] = 1
    return applied


def label(model: ir.Model, applied: Iterable[str]) -> None:
    """Write into a graph's metadata what the runtime has to know of the rules that were applied to it."""
    if "device_sizes" in set(applied):
        model.metadata_props[SIZES] = ON_DEVICE
