"""Holds a quantized graph against the selection, and gives it the form of the other graphs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx_ir as ir

from odise_trt.errors import ExportError

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_HINT = "use the versions of export/quantizing/requirements.txt"


def require_as_selected(half: ir.Graph, quantized: ir.Graph, selected: Collection[str]) -> None:
    """Raise ExportError unless a graph is the half-precision one with these nodes quantized.

    Every node of the one must be in the other, with the same operator, attributes and outputs. The others
    quantize or dequantize. Both operands of the selected nodes, and of no others, are dequantized. Scales are
    finite and above zero, and zero points are zero.

    Raises:
        ExportError: the graphs differ otherwise. The message names a node.
    """
    before = {node.name: node for node in half}
    after = {node.name: node for node in quantized if node.op_type not in (QUANTIZE, DEQUANTIZE)}
    if before.keys() != after.keys():
        odd = sorted(str(name) for name in before.keys() ^ after.keys())
        raise ExportError(f"ModelOpt changed more than operands: {', '.join(odd[:3])}", _HINT)
    for name, node in before.items():
        if _facts(node) != _facts(after[name]):
            raise ExportError(f"ModelOpt changed {name}: {_facts(node)} to {_facts(after[name])}", _HINT)
    found = {name for name, node in after.items() if any(map(_is_dequantized, node.inputs))}
    if found != set(selected):
        lacking, more = sorted(set(selected) - found), sorted(found - set(selected), key=str)
        what = f"did not quantize {lacking[0]}" if lacking else f"quantized {more[0]}"
        raise ExportError(
            f"ModelOpt {what}: {len(found)} layers are quantized, {len(set(selected))} were selected", _HINT
        )
    for name in selected:
        if not all(map(_is_dequantized, after[name].inputs[:2])):
            raise ExportError(f"ModelOpt quantized one operand of {name} only", _HINT)
    for node in quantized:
        if node.op_type in (QUANTIZE, DEQUANTIZE):
            _require_scale(node)


def keep_others(quantized: ir.Graph, selected: Collection[str]) -> None:
    """Give all nodes but the selected ones their operands as they were, in place.

    ModelOpt quantizes a tensor for all that read it: for a convolution, and for the sum that skips it.
    """
    for node in quantized:
        if node.name in selected or node.op_type in (QUANTIZE, DEQUANTIZE):
            continue
        for place, value in enumerate(node.inputs):
            if _is_dequantized(value):
                first = value.producer().inputs[0].producer()  # type: ignore[union-attr]
                node.replace_input_with(place, first.inputs[0])  # type: ignore[union-attr]


def clean(quantized: ir.Model, half: ir.Model) -> None:
    """Remove what ModelOpt writes for itself, in place: shapes of inner values, versions, names.

    Inputs and outputs are declared as in the graph before.
    """
    graph = quantized.graph
    for node in graph:
        for value in node.outputs:
            value.shape = value.type = None
    pairs = zip((*half.graph.inputs, *half.graph.outputs), (*graph.inputs, *graph.outputs), strict=True)
    for source, value in pairs:
        value.shape, value.type = source.shape, source.type
    for thing in (quantized, graph):
        thing.metadata_props.clear()
        thing.doc_string = None
    graph.name, quantized.producer_name, quantized.producer_version = half.graph.name, "odise-trt", None
    domains = {node.domain for node in graph}
    for domain in [domain for domain in quantized.opset_imports if domain not in {"", *domains}]:
        del quantized.opset_imports[domain]


def _facts(node: ir.Node) -> tuple[Any, ...]:
    attributes = {name: str(attribute.value) for name, attribute in node.attributes.items()}
    return node.op_type, node.domain, attributes, tuple(value.name for value in node.outputs)


def _is_dequantized(value: ir.Value | None) -> bool:
    producer = None if value is None else value.producer()
    return producer is not None and producer.op_type == DEQUANTIZE


def _require_scale(node: ir.Node) -> None:
    scale, zero = node.inputs[1], node.inputs[2]
    if scale is None or scale.const_value is None or zero is None or zero.const_value is None:
        raise ExportError(f"{node.name} has a scale that is no constant", _HINT)
    numbers = scale.const_value.numpy().astype(np.float64)
    if not (np.isfinite(numbers) & (numbers > 0)).all():
        raise ExportError(
            f"{node.name} has a scale that is zero or not finite",
            "a layer is never used on the calibration pictures, or gives NaN: give other pictures",
        )
    if np.any(np.frombuffer(zero.const_value.tobytes(), np.uint8)):
        raise ExportError(f"{node.name} has a zero point that is not zero", _HINT)
