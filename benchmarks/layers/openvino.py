"""Layers and times of a stage in OpenVINO: its performance counters, and the graph that it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from odise_trt.backends.base import Options
from odise_trt.backends.registry import find_backend
from odise_trt.bundle import Bundle
from odise_trt.errors import BackendError

from .loaded import open_with
from .viewer_form import StageProfile, tensor

#: OpenVINO's name of a type -> numpy's.
_DTYPES = {
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "f64": "float64",
    "i64": "int64",
    "i32": "int32",
    "i8": "int8",
    "u8": "uint8",
    "boolean": "bool",
}


def profile(
    bundle: Bundle, stage: str, inputs: Mapping[str, np.ndarray], options: Options, runs: int
) -> StageProfile:
    """Profile a stage, see `benchmarks.layers.profilers.LayerProfiler`.

    Stages that take their windows one by one are measured at the last window.
    """
    entry = find_backend(bundle.manifest.backend["name"])
    module = _CountingModule(entry.load())
    backend = open_with(entry, module, options)
    engine = backend.open_stage(bundle.folder, bundle.manifest.stage(stage))
    counted = []
    for _ in range(runs + 1):
        engine.run(inputs)
        counted.append(list(module.requests[-1].profiling_info))
    graph = module.compiled[-1].get_runtime_model()
    bindings = [one.name for one in (*engine.spec.inputs, *engine.spec.outputs)]
    found = converted(counted[1:], graph.get_ordered_ops(), bindings)
    engine.close()
    backend.close()
    return found


def converted(
    counted: Sequence[Sequence[Any]], operations: Iterable[Any], bindings: Sequence[str]
) -> StageProfile:
    """Convert performance counters of OpenVINO.

    Args:
        counted: for each run, the counters of all nodes in the order in which they run.
        operations: the nodes of the graph that ran. A size that is left open in it counts as 1.
        bindings: names of the inputs and outputs.

    Raises:
        BackendError: nothing was counted.
    """
    nodes = {one.get_friendly_name(): one for one in operations}
    layers: dict[str, dict[str, Any]] = {}
    milliseconds: dict[str, list[float]] = {}
    for run in counted:
        for counter in run:
            if counter.status.name != "EXECUTED":
                continue
            name = counter.node_name
            milliseconds.setdefault(name, []).append(counter.real_time.total_seconds() * 1000)
            if name not in layers:
                layers[name] = _layer(counter, nodes.get(name))
    if not layers:
        raise BackendError("OpenVINO has counted no layer")
    return StageProfile(list(layers.values()), list(bindings), milliseconds)


def _layer(counter: Any, node: Any) -> dict[str, Any]:
    sources = [port.get_source_output() for port in node.inputs()] if node is not None else []
    given = [port for port in sources if _fact(port.get_node(), "layerType") != "Const"]
    return {
        "Name": counter.node_name,
        "LayerType": counter.node_type,
        "Inputs": [_tensor(port) for port in given],
        "Outputs": [_tensor(port) for port in node.outputs()] if node is not None else [],
        "TacticName": counter.exec_type,
    }


def _tensor(port: Any) -> dict[str, Any]:
    node, shape = port.get_node(), port.get_partial_shape()
    kind = _fact(node, "runtimePrecision") or port.get_element_type().get_type_name()
    sizes = [] if shape.rank.is_dynamic else [one.get_length() if one.is_static else 1 for one in shape]
    name = node.get_friendly_name() + (f":{port.get_index()}" if port.get_index() else "")
    return tensor(name, sizes, _DTYPES.get(kind, kind))


def _fact(node: Any, name: str) -> str:
    facts = node.get_rt_info()
    return str(facts[name].astype(str)) if name in facts else ""


class _CountingModule:
    """The module openvino, whose compiled stages count the time of each node."""

    def __init__(self, openvino: Any) -> None:
        self._real = openvino
        self.compiled: list[Any] = []
        self.requests: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def Core(self) -> Any:  # noqa: N802 - the name that the backend calls
        return _Recorder(self._real.Core(), compile_model=self._compile)

    def _compile(self, core: Any, model: Any, device: str, config: Mapping[str, Any]) -> Any:
        self.compiled.append(core.compile_model(model, device, {**config, "PERF_COUNT": True}))
        return _Recorder(self.compiled[-1], create_infer_request=self._request)

    def _request(self, compiled: Any) -> Any:
        self.requests.append(compiled.create_infer_request())
        return self.requests[-1]


class _Recorder:
    """An object some of whose methods are replaced. They get the object first."""

    def __init__(self, real: Any, **methods: Any) -> None:
        self._real, self._methods = real, methods

    def __getattr__(self, name: str) -> Any:
        if name in self._methods:
            return lambda *arguments: self._methods[name](self._real, *arguments)
        return getattr(self._real, name)
