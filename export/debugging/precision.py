"""Finds the layers of a stage that half precision breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import onnx_ir as ir

from odise_trt.backends.registry import DEFAULT_BACKEND, find_backend
from odise_trt.bundle.manifest import Parity
from odise_trt.errors import ExportError

from ..fusing.expansion import expand
from ..graph_runner import runner
from ..onnx_export import EXTERNAL_DATA_BYTES, OnnxFile, export_stage
from ..parity import check_onnx, check_sizes, example_inputs, reference_case
from .nodes import NodeError, compare_nodes
from .widening import weights_of, widen

if TYPE_CHECKING:
    from reference.model import ODISE

    from ..stages import StageWrapper

HALF = "fp16"


@dataclass(frozen=True)
class LayerErrors:
    """A stage in half precision, beside itself in float32.

    Attributes:
        rows: its outputs, compared with the reference.
        nodes: every node, in the order they run.
        tolerance: of the outputs.
        exact: half weights that have their float32 numbers in the float32 graph. Others have rounded ones
            there too, so their rounding is no part of the distances.
    """

    rows: tuple[Parity, ...]
    nodes: tuple[NodeError, ...]
    tolerance: float
    exact: int


def layer_errors(
    stage: StageWrapper, model: ODISE, sizes: Mapping[str, int] | None = None, graph: OnnxFile | None = None
) -> LayerErrors:
    """Run a stage's half-precision graph beside the same graph in float32, and compare every node.

    Args:
        stage: the wrapper, float32 on the CPU.
        model: the reference, for the inputs.
        sizes: one per axis. None: the smallest batch at the typical image size.
        graph: the half-precision graph, from a bundle. None: it is exported now.

    Raises:
        ExportError: the stage computes in float32, or cannot be exported.
    """
    preset = model.preset
    if not stage.fp16:
        raise ExportError(f"{type(stage).__name__} computes in fp32 in an fp16 build", "name another stage")
    spec = stage.declare(preset).at(HALF)
    lacks = find_backend(DEFAULT_BACKEND).lacks  # both graphs run in it, on the CPU
    if sizes is None:
        sizes = (stage.sizes(preset) or check_sizes(spec))[0]
    with TemporaryDirectory() as folder:
        place = Path(folder)
        single = export_stage(
            stage, stage.declare(preset).at("fp32"), place / "fp32", precision="fp32", lacks=lacks
        )
        if graph is None:
            graph = export_stage(stage, spec, place / HALF, precision=HALF, lacks=lacks)
        half, wide = place / "half.onnx", place / "wide.onnx"
        _write(graph.path, half, None)
        exact = _write(half, wide, single.path)
        case = reference_case(stage, spec, sizes, example_inputs(stage, model, spec, sizes))
        inputs = {tensor.name: array for tensor, array in zip(spec.inputs, case.inputs, strict=True)}
        with runner(OnnxFile(half, (half,), {}), spec, HALF) as run:
            rows = check_onnx(run, spec, [case], HALF)
        nodes = compare_nodes(half, wide, inputs)
    return LayerErrors(rows, nodes, spec.tolerance.of(HALF), exact)


def _write(source: Path, target: Path, single: Path | None) -> int:
    """Write a graph without fused operators, in float32 if there is a graph with its weights."""
    model = ir.load(source)
    exact = 0
    if single is None:
        expand(model)
    else:
        exact = widen(model, weights_of(ir.load(single)))
    total = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    if total < EXTERNAL_DATA_BYTES:
        ir.save(model, target)
    else:
        ir.save(model, target, external_data=f"{target.name}.data", size_threshold_bytes=1024)
    return exact
