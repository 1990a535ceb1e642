"""A stage as a TensorRT engine, on arrays of the host and on tensors of the GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BackendError
from ..stage_spec import StageSpec
from .base import check_inputs, choose_profile
from .cuda import Buffer, Cuda
from .device import DeviceTensor, check_tensors

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


# Shapes whose scratch memory is remembered.
_MOST_SHAPES = 256
# Name and shape of every input, sorted.
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


class Flavour:
    """What the engines of a backend share: a module, a GPU, scratch memory, and what TensorRT logs.

    Attributes:
        name: of the backend.
        module: `tensorrt` or `tensorrt_rtx`.
        cuda: the GPU.
        scratch: scratch memory, as large as the hungriest engine needs. Engines run one after the other.
        messages: errors that were logged since `said`.
    """

    def __init__(self, name: str, module: Any, cuda: Cuda) -> None:
        self.name, self.module, self.cuda = name, module, cuda
        self.scratch = Buffer(cuda)
        self.messages: list[str] = []

    def said(self, error: Exception | None = None) -> str:
        """Return what TensorRT logged since the last call: its log, not an exception, explains failures."""
        text = "; ".join(self.messages) or (str(error) if error else "no reason given")
        self.messages.clear()
        return text


@dataclass
class _Context:
    """An execution context, the shapes that it was given last, and those that it ran last."""

    context: trt.IExecutionContext
    profile: int
    shapes: Shapes | None = None
    ran: Shapes | None = None
    leases: int = 0


class TensorRTEngine:
    """A stage as a TensorRT engine, see `Engine` and `DeviceEngine`.

    It has one execution context per optimisation profile, and one for each set of shapes that `keep` names: a
    recorded graph is of use only as long as its context has the shapes it was recorded with.
    """

    def __init__(self, flavour: Flavour, engine: trt.ICudaEngine, spec: StageSpec) -> None:
        self.spec = spec
        self._flavour = flavour
        self._trt = flavour.module
        self._cuda = flavour.cuda
        self._engine: trt.ICudaEngine | None = engine
        self._contexts: dict[int, _Context] = {}
        self._own: dict[Shapes, _Context] = {}
        # Scratch bytes of profile and shapes.
        self._scratch: dict[tuple[int, Shapes], int] = {}
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
        self._opened()
        sizes = check_inputs(self.spec, inputs)
        # Copies are asynchronous. The contiguous arrays must live until the stream is synchronized.
        contiguous = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        outputs = {
            tensor.name: np.empty(tensor.resolve(sizes), dtype=tensor.dtype) for tensor in self.spec.outputs
        }
        taken, given = (
            {
                name: DeviceTensor(
                    self._buffers[name].reserve(max(array.nbytes, 1)), str(array.dtype), array.shape
                )
                for name, array in arrays.items()
            }
            for arrays in (contiguous, outputs)
        )
        # Reserved first: all other addresses stay where they are.
        shapes = {name: array.shape for name, array in inputs.items()}
        self._flavour.scratch.reserve(max(self.scratch(shapes), 1))
        for name, array in contiguous.items():
            self._cuda.upload(taken[name].address, array)
        self.enqueue(taken, given)
        for name, array in outputs.items():
            self._cuda.download(array, given[name].address)
        self._cuda.synchronize()
        return outputs

    def enqueue(self, inputs: Mapping[str, DeviceTensor], outputs: Mapping[str, DeviceTensor]) -> None:
        """Queue one run on tensors of the GPU, see `DeviceEngine.enqueue`."""
        self._opened()
        sizes = check_tensors(self.spec, inputs, outputs)
        shapes = _sorted({name: one.shape for name, one in inputs.items()})
        one = self._own.get(shapes) or self._context(self._profile(sizes))
        scratch = self._resize(one, shapes)
        if one.ran != shapes:
            for tensor in self.spec.outputs:
                shape = tuple(one.context.get_tensor_shape(tensor.name))
                if shape != tensor.resolve(sizes):
                    raise BackendError(
                        f"stage {self.spec.name}: output {tensor.name} has shape {shape}, declared"
                        f" {tensor.resolve(sizes)}",
                        "build the stage again",
                    )
        for name, tensor_there in (*inputs.items(), *outputs.items()):
            done = one.context.set_tensor_address(name, tensor_there.address)
            self._require(done, f"set the address of {name}")
        # Set on every run, since it moves when another engine needs more memory.
        address = self._flavour.scratch.reserve(max(scratch, 1))
        one.context.set_device_memory(address, self._flavour.scratch.size)
        self._require(one.context.execute_async_v3(self._cuda.stream), "run")
        one.ran = shapes

    def scratch(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Return the scratch bytes of a run, see `DeviceEngine.scratch`."""
        profile, key = self._profile_for(shapes), _sorted(shapes)
        known = self._scratch.get((profile, key))
        return self._resize(self._context(profile), key) if known is None else known

    def keep(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Give runs of these shapes a context of their own, see `DeviceEngine.keep`."""
        key = _sorted(shapes)
        if key not in self._own:
            self._own[key] = self._new_context(self._profile_for(shapes))
        self._own[key].leases += 1

    def release(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Free such a context, see `DeviceEngine.release`."""
        one = self._own.get(_sorted(shapes))
        if one is not None:
            one.leases -= 1
            if one.leases == 0:
                del self._own[_sorted(shapes)]

    def can_be_recorded(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Whether such a context has run, see `DeviceEngine.can_be_recorded`."""
        one = self._own.get(_sorted(shapes))
        if one is None or one.ran is None:
            return False
        # TensorRT for RTX compiles kernels while it runs, and says whether its engine can be recorded at all.
        asks = getattr(one.context, "is_stream_capturable", None)
        return True if asks is None else bool(asks(self._cuda.stream))

    def _profile_for(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        declared = self.spec.inputs
        inputs = {one.name: DeviceTensor(0, one.dtype, tuple(shapes[one.name])) for one in declared}
        return self._profile(check_inputs(self.spec, inputs))

    def _resize(self, one: _Context, shapes: Shapes) -> int:
        """Tell a context its input shapes, and return how much scratch memory they need."""
        known = self._scratch.get((one.profile, shapes))
        if one.shapes == shapes and known is not None:
            return known
        one.shapes = one.ran = None
        for name, shape in shapes:
            self._require(one.context.set_input_shape(name, shape), f"set the shape of {name}")
        # Newer versions tell what these shapes need, which can be far less than the largest of the profile.
        exact = getattr(one.context, "update_device_memory_size_for_shapes", None)
        most = self._opened().get_device_memory_size_for_profile_v2(one.profile)
        if len(self._scratch) >= _MOST_SHAPES:
            self._scratch.clear()
        self._scratch[one.profile, shapes] = needed = int(most if exact is None else exact())
        one.shapes = shapes
        return needed

    def profiled(self, inputs: Mapping[str, np.ndarray], profiler: trt.IProfiler) -> str:
        """Run the stage once, report the time of each layer, and describe the layers.

        Args:
            inputs: as for `run`.
            profiler: told the name and the milliseconds of every layer.

        Returns:
            The JSON of the engine inspector. An engine that was built without details has names only.
        """
        with self._cuda.current():
            context = self._context(self._profile(check_inputs(self.spec, inputs))).context
            context.profiler = profiler
            self._run(inputs)
            inspector = self._opened().create_engine_inspector()
            inspector.execution_context = context
            return inspector.get_engine_information(self._trt.LayerInformationFormat.JSON)

    def close(self) -> None:
        """Free contexts, engine and buffers."""
        with self._cuda.current():
            self._contexts.clear()
            self._own.clear()
            self._engine = None
            for buffer in self._buffers.values():
                buffer.close()

    def _opened(self) -> trt.ICudaEngine:
        if self._engine is None:
            raise BackendError(f"stage {self.spec.name} was closed")
        return self._engine

    def _profile(self, sizes: Mapping[str, int]) -> int:
        return choose_profile(self.spec, sizes) if self.spec.profiles else 0

    def _context(self, profile: int) -> _Context:
        if profile not in self._contexts:
            self._contexts[profile] = self._new_context(profile)
        return self._contexts[profile]

    def _new_context(self, profile: int) -> _Context:
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._opened().create_execution_context(strategy)
        self._require(context is not None, "make an execution context")
        if self.spec.profiles:
            chosen = context.set_optimization_profile_async(profile, self._cuda.stream)
            self._require(chosen, f"choose the profile {self.spec.profiles[profile].name}")
        return _Context(context, profile)

    def _require(self, done: bool, what: str) -> None:
        if not done:
            reason = self._flavour.said()
            raise BackendError(f"stage {self.spec.name}: {self._flavour.name} could not {what}: {reason}")


def _sorted(shapes: Mapping[str, tuple[int, ...]]) -> Shapes:
    return tuple(sorted((name, tuple(shape)) for name, shape in shapes.items()))
