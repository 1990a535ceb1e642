"""The backends, each declared once. A new backend is one file and one entry here: docs/adding-a-backend.md.

`open_backend`, `odise-trt doctor` and the builder read these declarations. This module imports no backend.
Functions and classes are named as "module:name", and imported when they are needed.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any

from ..errors import BackendError

#: A key of an ONNX file's metadata, and its value if the device counts the sizes that it computes with.
#: Then a run copies nothing from the host, and can be recorded. See `export/fusing/sizes.py`.
SIZES, ON_DEVICE = "odise_trt.sizes", "on the device"


@dataclass(frozen=True)
class BackendEntry:
    """The declaration of a backend.

    Attributes:
        name: the backend's name on the command line and in manifests.
        opens: "module:function" that is called with this entry and `base.Options`, and returns a
            `base.Backend`.
        package: the Python module that it needs.
        extra: the extra of odise-trt that installs the package. None: no extra does.
        gpu_extra: the extra to install instead on machines with NVIDIA GPUs, if there is one.
        needs_gpu: whether it runs on NVIDIA GPUs only.
        precisions: those that it has engines in, the default of a build first.
        builds: "module:function" that is called with this entry and compute capabilities, and returns an
            `export.builders.Builder`. None: the exported ONNX file is the engine.
        ties: "module:function" that is called with the name and a precision, and returns what exported files
            are tied to, for the manifest. It raises a `BackendError` if this machine cannot run them. None:
            they run on any machine.
        checks: whether parity is measured in this backend. Otherwise it is measured in ONNX Runtime.
        builds_ahead: whether its engines can be built for a GPU on a machine without one.
        suffix: suffix of its engine files.
        lacks: ONNX operators that it has no kernel of its own for. A build writes them with others.
        fuses: rules of `export.fusing` for operators of its own. Its graphs run in no other backend.
        sampling: how its graphs sample in deformable attention, unless a build is told: "gather" (elementary
            operators), or "grid_sample" where GridSample is faster and right.
        profiles: "module:function", a `benchmarks.layers.profilers.LayerProfiler`. None: its layers cannot be
            timed.
        runs: "module:function" that `benchmarks.gpu.engines` calls to time an engine on tensors of a GPU.
            None: it does not run on them.
        examines: "module:function" that is called with the package, and returns a `base.Health` for
            `doctor`. None: the backend works if it can be imported and has the GPU it needs.
        not_found: modules that the package must not find while it is imported. It works without them.
    """

    name: str
    opens: str
    package: str
    extra: str | None = None
    gpu_extra: str | None = None
    needs_gpu: bool = False
    precisions: tuple[str, ...] = ("fp32", "fp16")
    builds: str | None = None
    ties: str | None = None
    checks: bool = False
    builds_ahead: bool = False
    suffix: str = ".onnx"
    lacks: frozenset[str] = frozenset()
    fuses: frozenset[str] = frozenset()
    sampling: str = "gather"
    profiles: str | None = None
    runs: str | None = None
    examines: str | None = None
    not_found: tuple[str, ...] = ()

    @property
    def device(self) -> str:
        """The default device."""
        return "cuda" if self.needs_gpu else "cpu"

    @property
    def precision(self) -> str:
        """The default precision of a build."""
        return self.precisions[0]

    @property
    def install(self) -> str:
        """The command that installs the backend's package."""
        if self.extra is None:
            return f"pip install {self.package}"
        on_gpus = f' (for GPUs: "odise-trt[{self.gpu_extra}]")' if self.gpu_extra else ""
        return f'pip install "odise-trt[{self.extra}]"{on_gpus}'

    def load(self) -> Any:
        """Import the backend's package.

        Raises:
            BackendError: the package is not installed, or does not load.
        """
        try:
            return self.import_package()
        except (ImportError, OSError) as error:
            raise BackendError(f"backend {self.name} is not installed ({error})", self.install) from error

    def import_package(self) -> Any:
        """Import the backend's package. Errors of the import are raised as they are."""
        hidden = [name for name in self.not_found if name not in sys.modules]
        try:
            # Python takes None for a module that is not there.
            sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
            return importlib.import_module(self.package)
        finally:
            for name in hidden:
                sys.modules.pop(name, None)


_TENSORRT = "odise_trt.backends.tensorrt:open_tensorrt"
# Half precision is the main use of TensorRT. On a CPU it is slower than single precision.
_HALF_FIRST = ("fp16", "fp32", "int8", "fp8")
_TENSORRT_BUILDER = "export.builders.tensorrt:TensorRTBuilder"
_TENSORRT_PROFILER = "benchmarks.layers.tensorrt:profile"
_TENSORRT_RUN = "benchmarks.gpu.engine_runs:run_tensorrt"

_ENTRIES = (
    BackendEntry(
        "onnxruntime",
        "odise_trt.backends.onnxruntime:OnnxRuntimeBackend",
        package="onnxruntime",
        extra="cpu",
        gpu_extra="cuda",
        # int8 and fp8 to measure what they lose, on the CPU: it runs the graph as it is written.
        precisions=("fp32", "fp16", "int8", "fp8"),
        # It expands the definition of the operator: 20 nodes for each, between which it changes the layout.
        lacks=frozenset({"GroupNormalization"}),
        profiles="benchmarks.layers.onnxruntime:profile",
        runs="benchmarks.gpu.engine_runs:run_onnxruntime",
        examines="odise_trt.backends.onnxruntime:examine",
    ),
    # The same package, with graphs for its provider for CUDA: four times as fast there as those above.
    BackendEntry(
        "onnxruntime_cuda",
        "odise_trt.backends.onnxruntime:OnnxRuntimeBackend",
        package="onnxruntime",
        extra="cuda",
        needs_gpu=True,
        precisions=("fp16",),
        lacks=frozenset({"GroupNormalization"}),
        fuses=frozenset(
            {
                "attention",
                "layer_norm",
                "group_norm",
                "skip_group_norm",
                "strided_conv",
                "channels_last",
                "split_gelu",
                "point_sum",
                "short_sum",
                "by_value",
                "device_sizes",
            }
        ),
        # Its Gather and its small products take twice the time of its GridSample: benchmarks/NOTES.md.
        sampling="grid_sample",
        profiles="benchmarks.layers.onnxruntime:profile",
        runs="benchmarks.gpu.engine_runs:run_onnxruntime",
        examines="odise_trt.backends.onnxruntime:examine_cuda",
    ),
    # It has a kernel for GroupNormalization, and is as fast without it: benchmarks/NOTES.md.
    BackendEntry(
        "openvino",
        "odise_trt.backends.openvino:OpenVinoBackend",
        package="openvino",
        extra="openvino",
        precisions=("fp32", "bf16"),
        ties="odise_trt.backends.openvino:ties",
        checks=True,
        # Its Gather takes twice the time of its GridSample, and memory for all samples: benchmarks/NOTES.md.
        sampling="grid_sample",
        profiles="benchmarks.layers.openvino:profile",
        examines="odise_trt.backends.openvino:examine",
        # With it, every import is reported to OpenVINO's makers, and an identity is kept in the home folder.
        not_found=("openvino_telemetry",),
    ),
    BackendEntry(
        "tensorrt",
        _TENSORRT,
        package="tensorrt",
        extra="tensorrt",
        needs_gpu=True,
        precisions=_HALF_FIRST,
        builds=_TENSORRT_BUILDER,
        profiles=_TENSORRT_PROFILER,
        runs=_TENSORRT_RUN,
        suffix=".engine",
    ),
    BackendEntry(
        "tensorrt_rtx",
        _TENSORRT,
        package="tensorrt_rtx",
        extra="tensorrt-rtx",
        needs_gpu=True,
        precisions=_HALF_FIRST,
        builds=_TENSORRT_BUILDER,
        profiles=_TENSORRT_PROFILER,
        runs=_TENSORRT_RUN,
        builds_ahead=True,
        suffix=".engine",
    ),
)

#: Name -> backend, in display order.
BACKENDS: dict[str, BackendEntry] = {entry.name: entry for entry in _ENTRIES}
#: The backend of a build if none is given.
DEFAULT_BACKEND = "onnxruntime"


def find_backend(name: str) -> BackendEntry:
    """Return the declaration of a backend.

    Raises:
        BackendError: there is no backend of that name.
    """
    if name not in BACKENDS:
        raise BackendError(f"there is no backend {name!r}", f"backends: {', '.join(BACKENDS)}")
    return BACKENDS[name]


def resolve(place: str) -> Any:
    """Import a module and return the function or class at "module:name"."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
