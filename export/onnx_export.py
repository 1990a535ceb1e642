"""Exports a stage wrapper as an ONNX file that agrees with its declaration.

The file has operators of the standard domain, and those that the backend fuses. Its names and dynamic sizes
are those of the declaration. The same input gives the same bytes.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

from odise_trt.errors import ExportError
from odise_trt.files.writing import put_in_place, unfinished_folder, writing
from odise_trt.stage_spec import Axis, StageSpec, split_dimension

from .fusing import DOMAIN, fuse, label
from .lowering import lower
from .onnx_graph import check_graph, quiet, simplify, tidy
from .precision import HalfPrecision, HalfStage
from .stages import StageWrapper

#: The operator set of every graph. 21 is the first with GroupNormalization as one node. The features stage of
#: the demo preset has 2207 nodes at 18, and 1522 at 21 and 23. Its TensorRT for RTX engine (fp16) builds in
#: 33 s at 18, 24 s at 21 and 23 s at 23. ONNX Runtime is as fast and as exact (6e-6) with all three.
#: 23 would add the Attention operator, which is not used for three reasons. TensorRT for RTX 1.7 builds it
#: for some head sizes only. ONNX Runtime 1.32 takes no mask that broadcasts. The engine would choose the
#: precision of its softmax.
DEFAULT_OPSET = 21
#: From 26 on, ONNX reports the first GroupNormalization in the graphs of torch 2.13 as deprecated.
MINIMUM_OPSET, MAXIMUM_OPSET = 18, 25

#: If the weights have more bytes than this, they go into `<stage>.onnx.data`. A protobuf cannot hold 2 GB.
EXTERNAL_DATA_BYTES = 100 * 2**20
#: Tensors below this size stay in the graph even then: parsers read shapes and axes from it.
_INLINE_TENSOR_BYTES = 1024


@dataclass(frozen=True)
class OnnxFile:
    """An exported stage.

    Attributes:
        path: the graph.
        files: the graph and, for large stages, its external data beside it.
        operators: operator type -> number of its nodes.
    """

    path: Path
    files: tuple[Path, ...]
    operators: Mapping[str, int]

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return sum(self.operators.values())

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return sum(file.stat().st_size for file in self.files)


def export_stage(
    stage: StageWrapper,
    spec: StageSpec,
    folder: Path,
    *,
    precision: str,
    opset: int = DEFAULT_OPSET,
    lacks: Collection[str] = (),
    fuses: Collection[str] = (),
) -> OnnxFile:
    """Write `folder/<stage>.onnx` and check it against `spec`.

    Args:
        stage: the wrapper, float32 on the CPU. It is not changed.
        spec: its declaration at `precision`, as from `StageSpec.at`.
        folder: folder of the file. An older file of the same name is replaced when the new one is complete.
        precision: "fp32" or "fp16" (a half graph with float32 islands, see `export.precision`).
        opset: version of the ONNX standard operators, 18 to 25.
        lacks: operators that the graph must not have, see `export.lowering`.
        fuses: rules for fused operators, see `export.fusing`.

    Raises:
        ExportError: tracing fails, or the written graph differs from what `spec` declares.
        OutputError: it cannot be written.
    """
    require_opset(opset)
    stage.eval()
    module: nn.Module = stage
    if precision == "fp16":
        module = HalfStage(stage, spec.outputs, stage.float32)
    model = _to_onnx(_trace(module, spec, precision), spec, opset)
    weights = list(model.graph.initializers.values())
    simplify(model)
    fuse(model, fuses)
    lower(model, lacks)
    tidy(model, spec)
    label(model, fuses)
    with writing(folder / f"{spec.name}.onnx"):
        folder.mkdir(parents=True, exist_ok=True)
        with unfinished_folder(folder) as temporary:
            written = write_graph(model, temporary / f"{spec.name}.onnx")
            operators = check_graph(written[0], spec, [DOMAIN] if fuses else [])
            files = tuple(folder / file.name for file in written)
            for old in (folder / f"{spec.name}.onnx", folder / f"{spec.name}.onnx.data"):
                old.unlink(missing_ok=True)
            # The weights go first, so that a graph in its place can always be opened.
            for source, target in reversed(list(zip(written, files, strict=True))):
                put_in_place(source, target)
    # Rewriting rules of onnxscript remember what they matched last, and with it the whole graph. Traced
    # programs have reference cycles. Both hold the weights: without this, a copy of them stays in memory.
    for value in (*weights, *model.graph.initializers.values()):
        value.const_value = None
    del module, model, weights
    gc.collect()
    return OnnxFile(files[0], files, operators)


def require_opset(opset: int) -> None:
    """Raise ExportError unless stages can be written with this operator set.

    Raises:
        ExportError: the operator set is too old or too new.
    """
    if not MINIMUM_OPSET <= opset <= MAXIMUM_OPSET:
        what = "old" if opset < MINIMUM_OPSET else "new"
        raise ExportError(f"opset {opset} is too {what}", f"use {MINIMUM_OPSET} to {MAXIMUM_OPSET}")


def _trace(module: nn.Module, spec: StageSpec, precision: str) -> torch.export.ExportedProgram:
    dims = {axis.name: _symbol(axis) for axis in spec.axes if axis.minimum < axis.maximum}
    sizes = trace_sizes(spec)
    inputs = tuple(
        torch.zeros(tensor.resolve(sizes), dtype=getattr(torch, tensor.dtype)) for tensor in spec.inputs
    )
    shapes = tuple(
        {
            place: _dim(dimension, spec, dims)
            for place, dimension in enumerate(tensor.shape)
            if isinstance(dimension, str) and split_dimension(dimension)[0] in dims
        }
        for tensor in spec.inputs
    )
    # torch.export takes the shapes of *args as one nested tuple.
    parameters = inspect.signature(module.forward).parameters.values()
    variadic = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    wanted: Any = (shapes,) if variadic else shapes
    rules = HalfPrecision() if precision == "fp16" else nullcontext()
    with torch.no_grad(), quiet(), rules:
        try:
            return torch.export.export(module, inputs, dynamic_shapes=wanted, strict=False)
        except Exception as error:
            raise ExportError(
                f"stage {spec.name} cannot be traced: {_gist(error)}",
                "sizes that the code branches on, or rounds, cannot be dynamic axes",
            ) from error


def _to_onnx(program: torch.export.ExportedProgram, spec: StageSpec, opset: int) -> ir.Model:
    with quiet():
        try:
            converted = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                input_names=[tensor.name for tensor in spec.inputs],
                output_names=[tensor.name for tensor in spec.outputs],
                verbose=False,
                optimize=False,  # `simplify` does it in a tenth of the time
            )
        except Exception as error:
            raise ExportError(f"stage {spec.name} cannot be converted to ONNX: {_gist(error)}") from error
    assert converted is not None
    return converted.model


def _symbol(axis: Axis) -> Any:
    # The symbol counts multiples, so that a size like `height/4` is a whole number of symbols.
    name = axis.name if axis.multiple == 1 else f"{axis.name}_in_{axis.multiple}s"
    return torch.export.Dim(name, min=axis.minimum // axis.multiple, max=axis.maximum // axis.multiple)


def _dim(dimension: str, spec: StageSpec, symbols: Mapping[str, Any]) -> Any:
    name, divisor = split_dimension(dimension)
    factor, rest = divmod(spec.axis(name).multiple, divisor)
    if rest:
        raise ExportError(
            f"{dimension} in stage {spec.name} is not a whole number for every {name}",
            f"the multiple of axis {name} must be divisible by {divisor}",
        )
    return symbols[name] if factor == 1 else factor * symbols[name]


def trace_sizes(spec: StageSpec) -> dict[str, int]:
    """Return the sizes to trace with. All differ, and none is 1, which torch takes for a constant."""
    sizes = {}
    for place, axis in enumerate(spec.axes):
        steps = max(2 + place, axis.minimum // axis.multiple)
        sizes[axis.name] = min(steps * axis.multiple, axis.maximum)
    return sizes


def write_graph(model: ir.Model, path: Path) -> list[Path]:
    """Write a graph, with large weights in a file beside it. Return the files, the graph first."""
    total = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    if total < EXTERNAL_DATA_BYTES:
        ir.save(model, path)
        return [path]
    data = f"{path.name}.data"
    ir.save(model, path, external_data=data, size_threshold_bytes=_INLINE_TENSOR_BYTES)
    return [path, path.with_name(data)]


def _gist(error: Exception) -> str:
    return "\n".join(line for line in str(error).splitlines() if line.strip())[:1200] or repr(error)
