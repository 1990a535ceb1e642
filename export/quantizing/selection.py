"""Which layers of a stage are quantized, and why the others are not.

A layer is a convolution or a product with constant weights. The rules are those of NVIDIA's examples for
Stable Diffusion, by names of the graph; names are paths of modules (`export.onnx_graph.tidy`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from odise_trt.errors import ExportError

if TYPE_CHECKING:
    import onnx_ir as ir

    from reference.preset import Preset

#: Tensor cores multiply 16 numbers of 8 bits at a time. ModelOpt leaves out narrower layers as well.
WIDTH = 16
#: ModelOpt leaves out convolutions of more places: fp8 has no kernels for them.
MOST_PLACES = 32

_OPERATORS = ("Conv", "MatMul", "Gemm")
_ATTENTION = re.compile(r"(.*/attn[12])/to_(?:q|k|v|out/0)/")


@dataclass(frozen=True)
class Layer:
    """A layer with weights.

    Attributes:
        node: its name in the graph.
        operator: its ONNX operator.
        weights: the shape of its weights.
        kept: why it stays in half precision. None: it is quantized.
    """

    node: str
    operator: str
    weights: tuple[int, ...]
    kept: str | None

    @property
    def module(self) -> str:
        """The path of its module, with the number of the product where a module has several."""
        path, _, last = self.node.removeprefix("stage/").rpartition("/")
        number = last.removeprefix(self.operator)
        return path.replace("/", ".") + number


def select(stage: str, graph: ir.Graph, preset: Preset) -> tuple[Layer, ...]:
    """Return the layers of a stage's graph, in the order they run.

    Args:
        stage: `features` or `clip_pool`.
        graph: in half precision, as `export.onnx_export` writes it.
        preset: for the number of heads.

    Raises:
        ExportError: no layer of the graph is quantized: the names are not those of the rules.
    """
    found = list(_layers(graph))
    rule = _RULES[stage](found, preset)
    layers = tuple(
        Layer(node, operator, shape, rule(node, weight) or _narrow(operator, shape))
        for node, operator, weight, shape in found
    )
    if all(layer.kept for layer in layers):
        raise ExportError(
            f"no layer of stage {stage} is quantized, of {len(layers)}",
            "if modules were renamed, change the rules in export/quantizing/selection.py",
        )
    return layers


#: Name of a node, its operator, the name of its weights, and their shape.
_Found = tuple[str, str, str, tuple[int, ...]]
#: Returns why the layer of a node and its weights stays in half precision.
_Rule = Callable[[str, str], str | None]


def _layers(graph: ir.Graph) -> Iterable[_Found]:
    for node in graph:
        weight = node.inputs[1] if node.op_type in _OPERATORS else None
        if weight is not None and weight.const_value is not None:
            shape = tuple(int(size) for size in weight.const_value.shape)  # type: ignore[arg-type]
            yield node.name or "", node.op_type, weight.name or "", shape


def _narrow(operator: str, weights: tuple[int, ...]) -> str | None:
    if min(weights[:2]) < WIDTH or (operator == "Conv" and min(weights[:2]) == WIDTH):
        return f"{WIDTH} channels or fewer"
    if math.prod(weights[2:]) > MOST_PLACES:
        return f"more than {MOST_PLACES} places"
    return None


def _of_features(found: Iterable[_Found], preset: Preset) -> _Rule:
    odd = _odd_heads(found, preset.unet.num_heads)

    def rule(node: str, weight: str) -> str | None:
        if "/unet/" not in node:
            return "VAE" if "/vae/" in node else "projection of features"
        if "/time_emb" in node:
            return "time embedding"
        if "/unet/conv_in/" in node or "/unet/conv_out/" in node:
            return "first or last convolution"
        match = _ATTENTION.match(node)
        return odd.get(match[1]) if match else None

    return rule


def _odd_heads(found: Iterable[_Found], heads: int) -> dict[str, str]:
    """Return the attentions whose heads have a width that no kernel takes: path -> why they are kept."""
    widths = {
        node.partition("/to_q/")[0]: shape[1] // heads
        for node, operator, _, shape in found
        if "/to_q/" in node and operator == "MatMul"
    }
    return {path: f"attention with heads of {width}" for path, width in widths.items() if width % WIDTH}


def _of_clip_pool(found: Iterable[_Found], preset: Preset) -> _Rule:
    def rule(node: str, weight: str) -> str | None:
        if "/visual/conv1/" in node or weight.endswith("visual.proj"):
            return "first or last layer"
        return None

    return rule


_RULES: dict[str, Callable[[Iterable[_Found], Preset], _Rule]] = {
    "features": _of_features,
    "clip_pool": _of_clip_pool,
}
