"""Runs an exported graph for its comparison: in ONNX Runtime, or in the backend that the graph is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from odise_trt.backends import open_backend
from odise_trt.errors import ExportError
from odise_trt.stage_spec import QUANTIZED, StageSpec

from .fusing import DOMAIN
from .fusing.expansion import expand
from .onnx_export import OnnxFile

if TYPE_CHECKING:
    from pathlib import Path

    from onnxruntime import InferenceSession

#: Name of a comparison in ONNX Runtime, in manifests.
ONNX = "onnx"
#: Called with an array for every input. Returns the outputs, in the order of the declaration.
Runner = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]


@dataclass(frozen=True)
class _Files:
    """The files of a stage before there is a manifest, see `odise_trt.backends.base.StageFiles`."""

    spec: StageSpec
    file: str
    files: tuple[str, ...]
    precision: str
    weights_from: str | None


@contextmanager
def runner(
    graph: OnnxFile,
    spec: StageSpec,
    precision: str,
    backend: str | None = None,
    weights_from: str | None = None,
    host_code: bool = False,
) -> Iterator[Runner]:
    """Open a graph, and close it at the end of the block.

    Args:
        graph: the graph, with its external data.
        spec: its declaration.
        precision: the precision to compute in.
        backend: the backend to run it in. None: ONNX Runtime on the CPU.
        weights_from: the file beside it that has its weights, if it is an engine without them.
        host_code: it may bring code for the processor, see `odise_trt.backends.open_backend`.

    Raises:
        ExportError: ONNX Runtime does not load the graph.
        BackendError: the backend does not open it.
    """
    names = [tensor.name for tensor in spec.outputs]
    if backend is None:
        with _for_any_processor(graph.path) as path:
            # Optimised, quantizing nodes would become integer kernels, which round elsewhere.
            plain = precision in QUANTIZED
            session = _session(path, spec, mapped=len(graph.files) > 1, plain=plain)
            yield lambda inputs: session.run(names, dict(inputs))
        return
    names_of_files = tuple(file.name for file in graph.files)
    files = _Files(spec, graph.path.name, names_of_files, precision, weights_from)
    opened = open_backend(backend, precision=precision, host_code=host_code)
    try:
        engine = opened.open_stage(graph.path.parent, files)
        try:
            yield lambda inputs: list(engine.run(inputs).values())
        finally:
            engine.close()
    finally:
        opened.close()


@contextmanager
def _for_any_processor(path: Path) -> Iterator[Path]:
    """Give a graph without fused operators: itself, or one that is written beside it for this block."""
    import onnx_ir as ir

    model = ir.load(path)
    if DOMAIN not in model.opset_imports:
        yield path
        return
    expand(model)
    # Weights stay where they are. The graph names their file.
    expanded = path.with_name(f"expanded-{path.name}")
    ir.save(model, expanded)
    try:
        yield expanded
    finally:
        expanded.unlink()


def _session(path: Path, spec: StageSpec, mapped: bool, plain: bool = False) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # At the "all" level, the blocked-layout transformer of the CPU provider crashes on half graphs.
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_DISABLE_ALL if plain else levels.ORT_ENABLE_EXTENDED
    if mapped:
        # Copies of weights that are mapped would come on top of the reference's.
        options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        return onnxruntime.InferenceSession(
            path,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["NchwcTransformer"],
        )
    except Exception as error:
        raise ExportError(f"ONNX Runtime cannot load stage {spec.name}: {error}") from error
