"""TensorRT and TensorRT for RTX. Both share one implementation, which takes the module of the flavour.

It uses the API that versions 10.13, 11 and RTX 1.7 share: tensors by name, no bindings by index. Activation
memory is managed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BackendError
from ..stage_spec import StageSpec
from .base import Options, StageFiles, check_inputs, choose_profile
from .cuda import Buffer, Cuda, device_index, open_cuda
from .engine_mismatch import engine_mismatch
from .registry import BackendEntry

if TYPE_CHECKING:
    import tensorrt as trt

# Types are looked up by name, since not every version of TensorRT translates them to numpy types.
_TYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT64": "int64",
    "INT32": "int32",
    "UINT8": "uint8",
}


def open_tensorrt(entry: BackendEntry, options: Options) -> TensorRTBackend:
    """Load a flavour on a GPU ("cuda", "cuda:1").

    Raises:
        BackendError: the flavour or cuda-python is not installed, or there is no GPU with a driver.
    """
    index = device_index(options.device)
    return TensorRTBackend(entry.name, entry.load(), open_cuda(index))


class TensorRTBackend:
    """Opens serialized engines of one TensorRT flavour on one GPU.

    Its engines run one after the other. They share one stream and one arena of activation memory, whose size
    is what the largest engine needs.
    """

    def __init__(self, name: str, module: Any, cuda: Cuda) -> None:
        self.name = name
        self._trt = module
        self._cuda = cuda
        self._arena = Buffer(cuda)
        self._messages: list[str] = []
        try:
            self._logger = collecting_logger(module, self._messages)
            with cuda.current():
                self._runtime: trt.Runtime | None = module.Runtime(self._logger)
        # Without a usable driver the binding raises TypeError, other failures RuntimeError.
        except Exception as error:
            with cuda.current():
                cuda.close()
            raise BackendError(f"{name} {module.__version__} cannot start: {self._said(error)}") from error

    def mismatch(self, built: Mapping[str, Any]) -> str | None:
        """Compare versions, and the GPU architecture, driver and system where the manifest names them."""
        return engine_mismatch(built, self._trt.__version__, self._cuda.device)

    def open_stage(self, folder: Path, entry: StageFiles) -> TensorRTEngine:
        """Load one stage, see `Backend.open_stage`."""
        if self._runtime is None:
            raise BackendError(f"backend {self.name} was closed")
        path = folder / entry.file
        self._messages.clear()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BackendError(f"{path} cannot be read: {error.strerror}") from error
        with self._cuda.current():
            engine = self._runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise BackendError(f"{self.name} cannot load {path}: {self._said()}", "build the stage again")
        opened = TensorRTEngine(self, engine, entry.spec)
        opened.check_declaration(path)
        return opened

    def describe(self) -> dict[str, str]:
        """Return version, GPU and driver."""
        device = self._cuda.device
        return {
            "backend": f"{self.name} {self._trt.__version__}",
            "device": device.name,
            "compute capability": device.compute_capability,
            "driver": f"CUDA {device.driver}",
            "memory": f"{device.memory_bytes / 2**30:.1f} GiB",
        }

    def close(self) -> None:
        """Free the runtime, the arena and the stream."""
        if self._runtime is not None:
            with self._cuda.current():
                self._runtime = None
                self._arena.close()
                self._cuda.close()

    def _said(self, error: Exception | None = None) -> str:
        """Return what TensorRT logged since the last call: its log, not an exception, explains failures."""
        text = "; ".join(self._messages) or (str(error) if error else "no reason given")
        self._messages.clear()
        return text


class TensorRTEngine:
    """A stage as a TensorRT engine, see `Engine`. It has one execution context per optimisation profile."""

    def __init__(self, backend: TensorRTBackend, engine: trt.ICudaEngine, spec: StageSpec) -> None:
        self.spec = spec
        self._backend = backend
        self._trt = backend._trt
        self._cuda = backend._cuda
        self._engine: trt.ICudaEngine | None = engine
        self._contexts: dict[int, trt.IExecutionContext] = {}
        self._buffers = {tensor.name: Buffer(self._cuda) for tensor in (*spec.inputs, *spec.outputs)}

    def check_declaration(self, path: Path) -> None:
        """Compare the engine's tensors and profiles with the stage's declaration.

        Raises:
            BackendError: they differ.
        """
        engine = self._opened()
        trt = self._trt
        found: dict[str, dict[str, str]] = {"inputs": {}, "outputs": {}}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            side = "inputs" if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else "outputs"
            dtype = engine.get_tensor_dtype(name).name
            found[side][name] = _TYPES.get(dtype, dtype)
        for side, tensors in (("inputs", self.spec.inputs), ("outputs", self.spec.outputs)):
            declared = {tensor.name: tensor.dtype for tensor in tensors}
            if found[side] != declared:
                raise BackendError(
                    f"{path} has {side} {found[side]}, the manifest declares {declared}",
                    "build the stage again",
                )
        if self.spec.profiles and engine.num_optimization_profiles != len(self.spec.profiles):
            raise BackendError(
                f"{path} has {engine.num_optimization_profiles} optimisation profiles, the manifest"
                f" declares {len(self.spec.profiles)}",
                "build the stage again",
            )

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the stage once, see `Engine.run`."""
        with self._cuda.current():
            return self._run(inputs)

    def _run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        engine = self._opened()
        sizes = check_inputs(self.spec, inputs)
        profile = self._profile(sizes)
        context = self._context(profile)
        # Copies are asynchronous. The contiguous arrays must live until the stream is synchronized.
        contiguous = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        for name, array in contiguous.items():
            address = self._buffers[name].reserve(array.nbytes)
            self._cuda.upload(address, array)
            self._require(context.set_input_shape(name, array.shape), f"set the shape of {name}")
            self._require(context.set_tensor_address(name, address), f"set the address of {name}")
        outputs: dict[str, np.ndarray] = {}
        for tensor in self.spec.outputs:
            shape: tuple[int, ...] = tuple(context.get_tensor_shape(tensor.name))
            if shape != tensor.resolve(sizes):
                raise BackendError(
                    f"stage {self.spec.name}: output {tensor.name} has shape {shape}, declared"
                    f" {tensor.resolve(sizes)}",
                    "build the stage again",
                )
            outputs[tensor.name] = array = np.empty(shape, dtype=tensor.dtype)
            address = self._buffers[tensor.name].reserve(array.nbytes)
            self._require(
                context.set_tensor_address(tensor.name, address), f"set the address of {tensor.name}"
            )
        scratch = engine.get_device_memory_size_for_profile_v2(profile)
        # Set on every run, since the arena moves when another engine needs more memory.
        context.set_device_memory(self._backend._arena.reserve(max(scratch, 1)), scratch)
        self._require(context.execute_async_v3(self._cuda.stream), "run")
        for name, array in outputs.items():
            self._cuda.download(array, self._buffers[name].reserve(array.nbytes))
        self._cuda.synchronize()
        return outputs

    def profiled(self, inputs: Mapping[str, np.ndarray], profiler: trt.IProfiler) -> str:
        """Run the stage once, report the time of each layer, and describe the layers.

        Args:
            inputs: as for `run`.
            profiler: told the name and the milliseconds of every layer.

        Returns:
            The JSON of the engine inspector. An engine that was built without details has names only.
        """
        with self._cuda.current():
            context = self._context(self._profile(check_inputs(self.spec, inputs)))
            context.profiler = profiler
            self._run(inputs)
            inspector = self._opened().create_engine_inspector()
            inspector.execution_context = context
            return inspector.get_engine_information(self._trt.LayerInformationFormat.JSON)

    def close(self) -> None:
        """Free contexts, engine and buffers."""
        with self._cuda.current():
            self._contexts.clear()
            self._engine = None
            for buffer in self._buffers.values():
                buffer.close()

    def _opened(self) -> trt.ICudaEngine:
        if self._engine is None:
            raise BackendError(f"stage {self.spec.name} was closed")
        return self._engine

    def _profile(self, sizes: Mapping[str, int]) -> int:
        return choose_profile(self.spec, sizes) if self.spec.profiles else 0

    def _context(self, profile: int) -> trt.IExecutionContext:
        if profile not in self._contexts:
            strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
            context = self._opened().create_execution_context(strategy)
            self._require(context is not None, "make an execution context")
            if self.spec.profiles:
                chosen = context.set_optimization_profile_async(profile, self._cuda.stream)
                self._require(chosen, f"choose the profile {self.spec.profiles[profile].name}")
                self._cuda.synchronize()
            self._contexts[profile] = context
        return self._contexts[profile]

    def _require(self, done: bool, what: str) -> None:
        if not done:
            reason = self._backend._said()
            raise BackendError(f"stage {self.spec.name}: {self._backend.name} could not {what}: {reason}")


def collecting_logger(flavour: Any, errors: list[str]) -> Any:
    """Make a logger that collects error messages only, to be raised with the exception they explain.

    Args:
        flavour: the module `tensorrt` or `tensorrt_rtx`.
        errors: the list that receives the messages. It is also the logger's attribute `errors`.
    """

    class Logger(flavour.ILogger):
        def __init__(self) -> None:
            flavour.ILogger.__init__(self)
            self.errors = errors

        def log(self, severity: Any, message: str) -> None:
            if severity in (flavour.ILogger.INTERNAL_ERROR, flavour.ILogger.ERROR):
                errors.append(message.strip())

    return Logger()
