"""Layers and times of a stage in ONNX Runtime: its own profile, and the graph as it has optimised it."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from odise_trt.backends.base import Options
from odise_trt.backends.registry import find_backend
from odise_trt.bundle import Bundle
from odise_trt.errors import BackendError

from .loaded import open_with
from .viewer_form import WEIGHTS, StageProfile, tensor

#: ONNX Runtime's name of a type in a profile -> numpy's.
_DTYPES = {"float": "float32", "double": "float64"}
_SUFFIX = "_kernel_time"


def profile(
    bundle: Bundle, stage: str, inputs: Mapping[str, np.ndarray], options: Options, runs: int
) -> StageProfile:
    """Profile a stage, see `benchmarks.layers.profilers.LayerProfiler`."""
    entry = find_backend(bundle.manifest.backend["name"])
    with tempfile.TemporaryDirectory() as place:
        module = _ProfilingModule(entry.load(), Path(place))
        backend = open_with(entry, module, options)
        engine = backend.open_stage(bundle.folder, bundle.manifest.stage(stage))
        for _ in range(runs + 1):
            engine.run(inputs)
        events = json.loads(Path(module.sessions[-1].end_profiling()).read_text(encoding="utf-8"))
        graph = onnx.load(module.optimised, load_external_data=False).graph
        engine.close()
        backend.close()
        module.sessions.clear()
    return converted(events, graph)


def converted(events: Iterable[Mapping[str, Any]], graph: onnx.GraphProto) -> StageProfile:
    """Convert a profile of ONNX Runtime.

    Args:
        events: the profile. The first run is not counted, since it allocates memory.
        graph: the optimised graph, in which nodes have the names that the profile has.

    Raises:
        BackendError: the profile has no nodes, or fewer than two runs.
    """
    kernels: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            kernels.setdefault(event["args"]["node_index"], []).append(event)
    if not kernels or min(map(len, kernels.values())) < 2:
        raise BackendError("the profile of ONNX Runtime has no two runs of every node")
    nodes = {node.name: node for node in graph.node if node.name}
    # Nodes without a name are found by their place: the graph is written in the order in which it runs.
    in_order = list(graph.node) if len(graph.node) == len(kernels) else []
    weights = {one.name: one for one in graph.initializer}
    layers, milliseconds = [], {}
    for place, (index, seen) in enumerate(kernels.items()):
        name = seen[0]["name"].removesuffix(_SUFFIX)
        node = nodes.get(name) or (in_order[place] if in_order else None)
        if node is not None and node.op_type != seen[0]["args"]["op_name"]:
            node = None
        # The viewer joins times by name, and ONNX allows nodes without a name.
        unique = (
            name if name and name not in milliseconds else f"{name or seen[0]['args']['op_name']} #{index}"
        )
        layers.append(_layer(unique, seen[0]["args"], node, weights))
        milliseconds[unique] = [event["dur"] / 1000 for event in seen[1:]]
    bindings = [one.name for one in (*graph.input, *graph.output)]
    # The packages are built without CUPTI: a layer on a GPU ends when it is queued.
    return StageProfile(layers, bindings, milliseconds, queued=True)


def _layer(
    name: str, facts: Mapping[str, Any], node: onnx.NodeProto | None, weights: Mapping[str, onnx.TensorProto]
) -> dict[str, Any]:
    kind = facts["op_name"]
    inputs = _tensors(facts["input_type_shape"], node.input if node else (), f"{name}:in")
    outputs = _tensors(facts["output_type_shape"], node.output if node else (), f"{name}:out")
    layer = {
        "Name": name,
        "LayerType": kind,
        "Inputs": [one for one in inputs if one["Name"] not in weights],
        "Outputs": outputs,
        "TacticName": f"{facts['provider']}.{kind}",
    }
    own = [weights[one] for one in node.input if one in weights] if node else []
    if own:
        sizes = [math.prod(one.dims) * helper.tensor_dtype_to_np_dtype(one.data_type).itemsize for one in own]
        largest = helper.tensor_dtype_to_np_dtype(own[sizes.index(max(sizes))].data_type)
        if largest.name in WEIGHTS:
            # The viewer wants one type and a count for all weights of a layer. The profile's own size leaves
            # out weights that were packed when the session was opened.
            layer["Weights"] = {"Type": WEIGHTS[largest.name], "Count": sum(sizes) // largest.itemsize}
    maps = [len(one["Dimensions"]) for one in (*layer["Inputs"][:1], *outputs[:1])]
    if node is not None and kind in ("Conv", "FusedConv") and maps == [4, 4]:
        layer |= _convolution(
            node, next(iter(facts["input_type_shape"][1].values())), outputs[0]["Dimensions"][1]
        )
    return layer


def _tensors(
    found: Sequence[Mapping[str, list[int]]], names: Iterable[str], stem: str
) -> list[dict[str, Any]]:
    """Name tensors. A profile has type and shape of those that exist, optional inputs left out."""
    there = [name for name in names if name]
    if len(there) != len(found):
        there = [f"{stem}{number}" for number in range(len(found))]
    return [
        tensor(name, shape, _DTYPES.get(kind, kind))
        for name, one in zip(there, found, strict=True)
        for kind, shape in one.items()
    ]


def _convolution(node: onnx.NodeProto, weight: Sequence[int], maps: int) -> dict[str, Any]:
    """Return the fields with which the viewer works out the intensity of a convolution."""
    given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    pads = list(given.get("pads", (0, 0, 0, 0)))
    return {
        "ParameterType": "Convolution",
        "Kernel": list(weight[2:]),
        "Stride": list(given.get("strides", (1, 1))),
        "Dilation": list(given.get("dilations", (1, 1))),
        "PrePadding": pads[:2],
        "PostPadding": pads[2:],
        "Groups": int(given.get("group", 1)),
        "OutMaps": maps,
        "HasBias": int(len(node.input) > 2 and bool(node.input[2])),
    }


class _ProfilingModule:
    """The module onnxruntime, whose sessions write a profile and their optimised graph.

    So the backend opens sessions with the options that it always uses.
    """

    def __init__(self, onnxruntime: Any, place: Path) -> None:
        self._real, self._place = onnxruntime, place
        self.optimised = place / "optimised.onnx"
        self.sessions: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def SessionOptions(self) -> Any:  # noqa: N802 - the name that the backend calls
        options = self._real.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(self._place / "profile")
        options.optimized_model_filepath = str(self.optimised)
        # One file holds at most 2 GB.
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", "weights.bin"
        )
        return options

    def InferenceSession(self, *arguments: Any, **options: Any) -> Any:  # noqa: N802 - as above
        self.sessions.append(self._real.InferenceSession(*arguments, **options))
        return self.sessions[-1]
