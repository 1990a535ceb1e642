"""What each quantized layer loses by itself: its output beside that of half precision, on the same input."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from odise_trt.errors import ExportError

from ..builders import Progress
from ..marked_graph import plain_session, run_marked
from ..reporter import silent
from .selection import Layer

#: Samples that layers are compared on. Each runs the half-precision graph several times.
SAMPLES = 2
#: Inputs of layers that are kept from one run of the graph, in bytes, and how many at first. A run of a large
#: graph takes most of a minute, and ModelOpt has just needed five times this memory.
_BUDGET, _FIRST, _MOST = 2 * 2**30, 8, 256


@dataclass(frozen=True)
class LayerError:
    """What one layer loses.

    Attributes:
        module: its path.
        operator: its ONNX operator.
        weights: the shape of its weights.
        error: relative L2 distance of its output to half precision, given the input of half precision.
        decibels: the same as a ratio of signal to noise.
    """

    module: str
    operator: str
    weights: tuple[int, ...]
    error: float
    decibels: float

    def as_data(self) -> dict[str, object]:
        """Return it for a manifest."""
        return {**asdict(self), "weights": list(self.weights)}


def layer_errors(
    half: Path,
    quantized: Path,
    layers: Sequence[Layer],
    samples: Sequence[Path],
    progress: Progress = silent,
) -> tuple[LayerError, ...]:
    """Compare each quantized layer with itself in half precision, in ONNX Runtime on the CPU.

    Args:
        half: the graph before.
        quantized: the graph after, see `export.quantizing.graph`.
        layers: those that are quantized.
        samples: calibration inputs; the first `SAMPLES` are used.
        progress: is told of each comparison.

    Raises:
        ExportError: a layer gives no finite numbers.
    """
    model = ir.load(quantized)
    nodes = {str(node.name): node for node in model.graph}
    opset = int(model.opset_imports[""])
    given: dict[str, list[str]] = {}
    for layer in layers:
        given.setdefault(_operand(nodes[layer.node], 0)[2], []).append(layer.node)
    squares = {layer.node: np.zeros(2) for layer in layers}
    used = samples[:SAMPLES]
    done, total = 0, len(layers) * len(used)
    for path in used:
        with np.load(path, allow_pickle=False) as file:
            inputs = {name: file[name] for name in file.files}
        for name, array in _values(half, list(given), inputs):
            for node in given[name]:
                progress("layers", done, total)
                done += 1
                # Sessions hold copies of weights, so there is one at a time.
                session = plain_session(_alone(nodes[node], opset))
                exact, rounded = (one.astype(np.float64) for one in session.run(None, {name: array}))
                squares[node] += (np.square(rounded - exact).sum(), np.square(exact).sum())
    progress("layers", total, total)
    return tuple(_error(layer, *squares[layer.node]) for layer in layers)


def _error(layer: Layer, noise: float, signal: float) -> LayerError:
    if not math.isfinite(noise) or not math.isfinite(signal):
        raise ExportError(f"{layer.module} gives no finite numbers", "are the weights and pictures right?")
    error = math.sqrt(noise / signal) if signal else 0.0
    decibels = -20 * math.log10(error) if error else 999.0
    return LayerError(layer.module, layer.operator, layer.weights, error, round(decibels, 1))


def _operand(node: ir.Node, place: int) -> tuple[ir.Node, ir.Node, str]:
    """Return the nodes that quantize and dequantize an operand, and the name of what they are given."""
    value = node.inputs[place]
    last = None if value is None else value.producer()
    first = None if last is None or last.inputs[0] is None else last.inputs[0].producer()
    if last is None or first is None or first.inputs[0] is None:
        raise ExportError(f"{node.name} has an operand that is not quantized")
    return first, last, str(first.inputs[0].name)


def _alone(node: ir.Node, opset: int) -> bytes:
    """Return a graph of one layer as it is, and once more in 8 bits: one input, two outputs."""
    around = [_operand(node, place) for place in (0, 1)]
    given, weight = (name for _, _, name in around)
    exact, rounded = ir.to_proto(node), ir.to_proto(node)
    exact.input[0], exact.input[1] = given, weight
    exact.output[0], rounded.output[0] = "exact", "rounded"
    exact.name, rounded.name = "exact", "rounded"
    between = [ir.to_proto(one) for first, last, _ in around for one in (first, last)]
    wanted = {name for one in (exact, rounded, *between) for name in one.input}
    constants = {
        str(value.name): value.const_value
        for one in (node, *(one for first, last, _ in around for one in (first, last)))
        for value in one.inputs
        if value is not None and value.const_value is not None and value.name in wanted
    }
    tensors = [
        # A tensor of numbers, also if the numbers are in a file of their own.
        ir.to_proto(ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=name))
        for name, tensor in constants.items()
    ]
    half, nothing = onnx.TensorProto.FLOAT16, None
    graph = onnx.helper.make_graph(
        [*between, exact, rounded],
        "layer",
        [onnx.helper.make_tensor_value_info(given, half, nothing)],
        [onnx.helper.make_tensor_value_info(name, half, nothing) for name in ("exact", "rounded")],
        tensors,
    )
    versions = [onnx.helper.make_opsetid("", opset)]
    return onnx.helper.make_model(graph, opset_imports=versions, ir_version=10).SerializeToString()


def _values(
    path: Path, names: Sequence[str], inputs: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    """Run a graph, and yield inner values by name. A few are computed in one run, so that memory suffices."""
    done, count = 0, _FIRST
    while done < len(names):
        some = [name for name in names[done : done + count] if name not in inputs]
        yield from ((name, inputs[name]) for name in names[done : done + count] if name in inputs)
        largest = 1
        if some:
            for name, array in zip(some, run_marked(path, some, inputs), strict=True):
                largest = max(largest, array.nbytes)
                yield name, array
        done += count
        count = max(1, min(_MOST, _BUDGET // largest))
