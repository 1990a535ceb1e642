"""The same graph in float32: node for node what a half-precision graph would compute without rounding."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

_HALF, _SINGLE = ir.DataType.FLOAT16, ir.DataType.FLOAT
#: The half copy of a stage is a module in a module, see `export.precision.HalfStage`.
_INNER = "stage."


def widen(model: ir.Model, weights: Mapping[str, np.ndarray]) -> int:
    """Make all half-precision numbers of a graph float32, in place. Nodes, their order and names stay.

    Args:
        model: the graph.
        weights: name -> float32 weights of the stage. Those that the graph has rounded are taken; a weight
            that was changed on its way into the graph keeps its rounded numbers.

    Returns:
        How many half weights got their exact numbers.
    """
    exact = 0
    for name, value in model.graph.initializers.items():
        if value.const_value is None or value.const_value.dtype != _HALF:
            continue
        rounded = value.const_value.numpy()
        known = weights.get(name.removeprefix(_INNER))
        wide = rounded.astype(np.float32)
        if known is not None and known.shape == rounded.shape:
            with np.errstate(over="ignore"):
                same = np.array_equal(known.astype(np.float16), rounded)
            if same:
                wide, exact = known, exact + 1
        value.const_value = ir.tensor(wide, name=name)
        value.type = ir.TensorType(_SINGLE)
    for node in model.graph.all_nodes():
        for attribute in list(node.attributes.values()):
            if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == _HALF:
                wide = attribute.as_tensor().numpy().astype(np.float32)
                node.attributes[attribute.name] = ir.AttrTensor(attribute.name, ir.tensor(wide))
            elif attribute.name in ("to", "dtype") and attribute.as_int() == _HALF:
                node.attributes[attribute.name] = ir.AttrInt64(attribute.name, int(_SINGLE))
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.dtype == _HALF:
            value.type = ir.TensorType(_SINGLE)
    return exact


def weights_of(model: ir.Model) -> dict[str, np.ndarray]:
    """Return the float32 weights of a graph by name."""
    return {
        name: value.const_value.numpy()
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and value.const_value.dtype == _SINGLE
    }
