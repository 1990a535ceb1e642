"""Runs a graph as it is written, without optimisation, and returns inner values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def run_marked(path: Path, names: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Run a graph in ONNX Runtime on the CPU, and return values by name.

    A copy of the graph without weights lies beside it meanwhile.

    Args:
        path: the graph.
        names: of first outputs of nodes.
        inputs: of the graph.
    """
    model = ir.load(path)
    wanted = set(names)
    have = {value.name for value in model.graph.outputs}
    for node in model.graph:
        value = node.outputs[0]
        if value.name in wanted - have:
            model.graph.outputs.append(value)
    marked = path.with_name(f"marked-{path.name}")
    # Weights stay where they are. The graph names their file.
    ir.save(model, marked)
    try:
        found: list[np.ndarray] = plain_session(marked).run(list(names), dict(inputs))
    finally:
        marked.unlink()
    return found


def plain_session(model: Path | bytes) -> InferenceSession:
    """Open a graph in ONNX Runtime on the CPU without optimisation."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
