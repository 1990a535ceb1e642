"""Layers and times of a stage in TensorRT: the engine inspector and an `IProfiler`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from odise_trt.backends.base import Backend, Options
from odise_trt.backends.registry import find_backend, resolve
from odise_trt.bundle import Bundle
from odise_trt.errors import BackendError

from .viewer_form import StageProfile, of_first_profile


def profile(
    bundle: Bundle, stage: str, inputs: Mapping[str, np.ndarray], options: Options, runs: int
) -> StageProfile:
    """Profile a stage, see `benchmarks.layers.profilers.LayerProfiler`."""
    entry = find_backend(bundle.manifest.backend["name"])
    with ExitStack() as resources:
        backend: Backend = resolve(entry.opens)(entry, options)
        resources.callback(backend.close)
        engine: Any = backend.open_stage(bundle.folder, bundle.manifest.stage(stage))
        resources.callback(engine.close)
        recorder = layer_times(entry.load())
        described = ""
        for run in range(runs + 1):
            described = engine.profiled(inputs, recorder)
            if run == 0:
                recorder.milliseconds.clear()  # the first run chooses and loads kernels
        return converted(json.loads(described), recorder.milliseconds)


def converted(described: Mapping[str, Any], milliseconds: Mapping[str, list[float]]) -> StageProfile:
    """Convert the inspector's description.

    Args:
        described: the inspector's JSON, of one optimisation profile.
        milliseconds: name of a layer -> its time in every run.

    Raises:
        BackendError: the engine was built without the description of its layers.
    """
    layers = described.get("Layers") or []
    if not layers or not all(isinstance(layer, dict) for layer in layers):
        raise BackendError(
            "the engine has only the names of its layers",
            "build the stage again, with this version of the toolkit",
        )
    # An engine has the layers of all its profiles. Those that ran are the ones with times.
    ran = [layer for layer in layers if layer["Name"] in milliseconds] or layers
    own = {_profile_of(layer["Name"]) for layer in ran}
    kept = [layer for layer in layers if _profile_of(layer["Name"]) in own]
    renamed = [{**layer, "Name": of_first_profile(layer["Name"])} for layer in kept]
    bindings = [name for name in described.get("Bindings", ()) if _profile_of(name) in own]
    times = {of_first_profile(name): spent for name, spent in milliseconds.items()}
    return StageProfile(renamed, [of_first_profile(name) for name in bindings], times)


def layer_times(flavour: Any) -> Any:
    """Make an `IProfiler` that keeps all times: `milliseconds`, name of a layer -> list.

    Args:
        flavour: the module `tensorrt` or `tensorrt_rtx`.
    """

    class LayerTimes(flavour.IProfiler):
        def __init__(self) -> None:
            flavour.IProfiler.__init__(self)
            self.milliseconds: dict[str, list[float]] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.milliseconds.setdefault(layer_name, []).append(ms)

    return LayerTimes()


def _profile_of(name: str) -> str:
    return name.removeprefix(of_first_profile(name))
