"""The ONNX Runtime backend. It runs the exported graphs directly, on the CPU or a CUDA GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import BackendError
from ..stage_spec import PRECISIONS, QUANTIZED, StageSpec
from .base import Health, Options, StageFiles
from .cuda import Cuda, device_index, is_installed, open_cuda
from .engine_mismatch import version_numbers
from .onnxruntime_engine import OnnxRuntimeEngine
from .registry import BackendEntry

#: `onnxruntime` and `onnxruntime-gpu` install the same files. The last one installed overwrites the other,
#: and removing either damages the other. So both are removed before one is installed.
_ON_GPUS = 'pip uninstall -y onnxruntime onnxruntime-gpu && pip install "odise-trt[cuda]"'
_REPAIR = (
    "pip uninstall -y onnxruntime onnxruntime-gpu"
    ' && pip install "odise-trt[cpu]" (for GPUs: "odise-trt[cuda]")'
)
_DAMAGED = "damaged: it has no InferenceSession"

#: Stages with files larger than this free their scratch memory after each run. Smaller stages do not: for the
#: demo preset's features it would cost an eighth of the speed and save only 0.15 of 0.5 GB.
_SHRINK_FROM = 32 * 2**20
_CPU = "CPUExecutionProvider"
_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
}
#: For graphs with fused operators. An exhaustive search for the algorithm of a convolution finds worse ones
#: (seen in onnxruntime-gpu 1.31: 63 instead of 42 ms for `features`).
_FUSED = {"cudnn_conv_algo_search": "HEURISTIC"}
#: The first version whose runs can be recorded: before, Concat copied its arguments from the host.
_RECORDS_FROM = (1, 31)


class OnnxRuntimeBackend:
    """Opens ONNX files in ONNX Runtime.

    Raises:
        BackendError: onnxruntime is not installed, or lacks the provider of the requested device.
    """

    def __init__(self, entry: BackendEntry, options: Options) -> None:
        self.name = entry.name
        onnxruntime = entry.load()
        if not hasattr(onnxruntime, "InferenceSession"):
            raise BackendError(f"{entry.package} is {_DAMAGED}", _REPAIR)
        self._ort = onnxruntime
        self._device = options.device
        self._threads = options.threads
        self._precision = options.precision
        if options.precision in QUANTIZED and options.device != "cpu":
            raise BackendError(
                f"onnxruntime runs {options.precision} graphs on the CPU only, to measure what they lose",
                f"build for TensorRT: --backend tensorrt --precision {options.precision}",
            )
        self._provider, self._options = provider_of(entry, options.device)
        self.cuda: Cuda | None = None
        self._copies_sizes = False
        available = onnxruntime.get_available_providers()
        if self._provider not in available:
            raise BackendError(
                f"this onnxruntime {onnxruntime.__version__} has no {self._provider}"
                f" (it has: {', '.join(available)})",
                _ON_GPUS,
            )
        self._without = left_out(entry)
        if self._provider != _CPU:
            self._open_gpu(device_index(options.device))

    def mismatch(self, built: Mapping[str, Any]) -> str | None:
        """Return None: ONNX files run on any machine."""
        return None

    def open_stage(self, folder: Path, entry: StageFiles) -> OnnxRuntimeEngine:
        """Load one stage, see `Backend.open_stage`."""
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        levels = self._ort.GraphOptimizationLevel
        on_cpu = self._provider == _CPU
        if on_cpu:
            # Every session has threads of its own. After a run they would spin for a while, and take the
            # processors from the next session and from numpy.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Optimisation levels above "extended" change the layout (NchwcTransformer). On the CPU this crashes
        # on half-precision graphs (seen in onnxruntime 1.32 on CLIP).
        precision = entry.precision or self._precision
        options.graph_optimization_level = levels.ORT_ENABLE_ALL
        if PRECISIONS[self._precision] == "float16" and on_cpu:
            options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED
        if precision in QUANTIZED:
            # Quantizing nodes run as they are written. Kernels that they would be fused to round elsewhere,
            # and onnxruntime 1.32 cannot load some of them.
            options.graph_optimization_level = levels.ORT_DISABLE_ALL
        path = folder / entry.file
        weights = [folder / name for name in entry.files if name != entry.file]
        if not on_cpu:
            # Weights are as large as they are. The arena for scratch memory grows in powers of two.
            options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
            # The second run of a size would take all its memory again, in one piece.
            options.enable_mem_pattern = False
        if on_cpu and weights:
            # Weights in files of their own are mapped. Copies in the layout that products prefer
            # ("prepacking") would double them, and save no time where there is work for minutes.
            options.add_session_config_entry("session.disable_prepacking", "1")
        try:
            session = self._ort.InferenceSession(
                str(path),
                options,
                providers=[(self._provider, self._options)],
                disabled_optimizers=self._without,
            )
        # Its exceptions share no base but Exception.
        except Exception as error:
            raise BackendError(
                f"stage {entry.spec.name}: onnxruntime cannot open {path}: {error}",
                "build the stage again, or update onnxruntime where it is older than the one that built it",
            ) from error
        # If a provider fails to load, ONNX Runtime falls back to the CPU and only writes a log line.
        if session.get_providers()[0] != self._provider:
            raise BackendError(
                f"onnxruntime could not start {self._provider} for {path.name}, it offers"
                f" {', '.join(session.get_providers())}",
                "check that CUDA and cuDNN fit this onnxruntime-gpu: odise-trt doctor",
            )
        _check_declaration(path, entry.spec, session)
        size = sum((folder / name).stat().st_size for name in entry.files)
        shrink = on_cpu and size > _SHRINK_FROM
        place = ("cpu", 0) if on_cpu else ("cuda", device_index(self._device))
        mapped = weights if on_cpu else []
        engine = OnnxRuntimeEngine(self._ort, session, entry.spec, shrink, mapped, place)
        self._copies_sizes = self._copies_sizes or engine.copies_sizes
        return engine

    def describe(self) -> dict[str, str]:
        """Return version, device and threads."""
        gpu = {} if self.cuda is None else {"GPU": self.cuda.device.name}
        return {
            "backend": f"onnxruntime {self._ort.__version__}",
            "device": self._device,
            **gpu,
            "provider": self._provider,
            "threads": str(self._threads),
        }

    @property
    def no_graphs(self) -> str | None:
        """Why no runs are recorded: what they copy from the host is gone when the recording runs.

        Older versions of ONNX Runtime copy more than the sizes of a graph.
        """
        if version_numbers(self._ort.__version__) < _RECORDS_FROM:
            least = ".".join(map(str, _RECORDS_FROM))
            return f"onnxruntime {self._ort.__version__} copies from the host in every run, {least} does not"
        if self._copies_sizes:
            return "the bundle's graphs work out sizes on the host, those built for onnxruntime_cuda do not"
        return None

    @property
    def records_host(self) -> bool:
        """False: memory of the host that a run copied from is used for something else after it."""
        return False

    @property
    def scratch_size(self) -> int:
        """0: ONNX Runtime manages its scratch memory itself."""
        return 0

    def reserve_scratch(self, size: int) -> int:
        """Return 0: ONNX Runtime manages its scratch memory itself."""
        return 0

    def close(self) -> None:
        """Free the streams on the GPU, if there is one."""
        if self.cuda is not None:
            with self.cuda.current():
                self.cuda.close()

    def _open_gpu(self, index: int) -> None:
        """Let the engines run on a stream of ours, so that they need not wait for each other.

        Without cuda-python or pycuda they have none, and take arrays of the host only.
        """
        # The log of the whole process: a warning per session, and an error for each algorithm of a
        # convolution that does not fit this GPU. What fails for good is an exception.
        self._ort.set_default_logger_severity(4)
        if is_installed():
            self.cuda = open_cuda(index)
            self._options["user_compute_stream"] = str(self.cuda.stream)


def examine(onnxruntime: Any) -> Health:
    """Report what an installation offers. The imported module may be incomplete."""
    if not hasattr(onnxruntime, "InferenceSession"):
        return Health(False, _DAMAGED, _REPAIR)
    names = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    detail = f"{onnxruntime.__version__}, providers: {', '.join(names)}"
    return Health(True, detail, "" if "CUDA" in names else f"for --device cuda: {_ON_GPUS}")


def examine_cuda(onnxruntime: Any) -> Health:
    """Report whether an installation has the provider for CUDA."""
    found = examine(onnxruntime)
    return replace(found, works=found.works and not found.needs)


def provider_of(entry: BackendEntry, device: str) -> tuple[str, dict[str, str]]:
    """Return the provider for a device, and its options for the graphs of a backend.

    Raises:
        BackendError: `device` has another form.
    """
    if device == "cpu":
        return _CPU, {}
    return "CUDAExecutionProvider", {
        "device_id": str(device_index(device)),
        # Otherwise float32 is multiplied in TF32, whose mantissa of 10 bits is only that of fp16.
        "use_tf32": "0",
        # Otherwise scratch memory doubles when it has to grow.
        "arena_extend_strategy": "kSameAsRequested",
        **(_FUSED if entry.fuses else {}),
    }


def left_out(entry: BackendEntry) -> list[str]:
    """Return the optimizers of ONNX Runtime that the graphs of a backend are opened without."""
    # It turns a product and a sum into three operators for a product of matrices. On a GPU, queueing
    # operators is what small ones take time for.
    return ["MatMulAddFusion"] if entry.fuses else []


def _check_declaration(path: Path, spec: StageSpec, session: Any) -> None:
    for side, tensors, nodes in (
        ("inputs", spec.inputs, session.get_inputs()),
        ("outputs", spec.outputs, session.get_outputs()),
    ):
        declared = {tensor.name: tensor.dtype for tensor in tensors}
        found = {node.name: _TYPES.get(node.type, node.type) for node in nodes}
        if found != declared:
            raise BackendError(
                f"{path} has {side} {found}, the manifest declares {declared}", "build the stage again"
            )
