"""A module that looks like `tensorrt`, whose engines run their ONNX graph in ONNX Runtime."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from odise_trt.errors import BackendError
from odise_trt.files.typed_json import read_as
from odise_trt.stage_spec import StageSpec, Tensor, bytes_of, split_dimension

from .cuda import StandInCuda
from .memory import DeviceFaultError

VERSION = "10.13.0.stand-in"
_NAMES = {"float32": "FLOAT", "float16": "HALF", "int64": "INT64", "int32": "INT32", "uint8": "UINT8"}


def engine_file(
    onnx: Path,
    spec: StageSpec,
    half: bool = False,
    weights: Sequence[str] | None = None,
    host_code: bool = False,
) -> bytes:
    """The content of an engine's file: its graph, its declaration, whether it computes in fp16.

    Args:
        weights: the names of those that it has to be given. None: it has its weights.
        host_code: it brings a lean runtime, as version-compatible engines do.
    """
    data = {"onnx": str(onnx), "spec": asdict(spec), "half": half, "weights": weights, "host code": host_code}
    return json.dumps(data).encode()


@dataclass
class Machine:
    """A machine with GPUs, and what goes wrong on it.

    Attributes:
        memory: bytes of each GPU.
        refuses: stages whose runs cannot be queued, with the message that is logged.
        refuses_above: such a stage -> only its runs with more windows are refused.
        crashes: stages whose runs fail on the GPU, later.
        not_finite: stage -> output that is filled with NaN.
        spares: such a stage -> so many runs go well before that.
        exact: whether contexts tell the scratch memory of their shapes, as newer versions do.
        scratch: scratch bytes per byte of outputs.
        hungry: stages that need so many times as much.
        refit_fails: whether engines take no weights.
        hides_missing: whether it is not said which weights are missing, as by TensorRT for RTX.
    """

    memory: int = 2**31
    refuses: dict[str, str] = field(default_factory=dict)
    refuses_above: dict[str, int] = field(default_factory=dict)
    crashes: set[str] = field(default_factory=set)
    not_finite: dict[str, str] = field(default_factory=dict)
    spares: dict[str, int] = field(default_factory=dict)
    exact: bool = True
    scratch: float = 1.0
    hungry: dict[str, float] = field(default_factory=dict)
    refit_fails: bool = False
    hides_missing: bool = False
    gpus: list[StandInCuda] = field(default_factory=list)
    ran: list[tuple[str, dict[str, tuple[int, ...]]]] = field(default_factory=list)

    def cuda(self, index: int = 0) -> StandInCuda:
        """Open a GPU."""
        return StandInCuda(index, self.memory, self.gpus)

    @property
    def gpu(self) -> StandInCuda:
        """The GPU that is the current one."""
        (current,) = (one for one in self.gpus if one.is_current)
        return current

    def module(self) -> SimpleNamespace:
        """The module `tensorrt`."""
        return SimpleNamespace(
            __version__=VERSION,
            ILogger=type("ILogger", (), {"INTERNAL_ERROR": 0, "ERROR": 1}),
            Runtime=lambda logger: Runtime(self, logger),
            TensorIOMode=SimpleNamespace(INPUT="INPUT"),
            LayerInformationFormat=SimpleNamespace(JSON="JSON"),
            ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="USER_MANAGED"),
            Refitter=Refitter,
            OnnxParserRefitter=OnnxParserRefitter,
        )

    def engine(self, logger: Any, content: bytes, host_code_allowed: bool) -> Engine | None:
        """Deserialize an engine. None: it does not open, and the log says why."""
        try:
            data = json.loads(content)
            spec: StageSpec = read_as(StageSpec, data["spec"])
        except ValueError:
            logger.log(1, "Serialization assertion failed")
            return None
        if data["host code"] and not host_code_allowed:
            logger.log(1, "plan contains host code, and host code is not allowed")
            return None
        return Engine(self, self.gpu, logger, spec, Path(data["onnx"]), data["half"], data["weights"])


class Runtime:
    """What opens engines, see `tensorrt.Runtime`."""

    def __init__(self, machine: Machine, logger: Any) -> None:
        self.machine, self.logger = machine, logger
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
        return self.machine.engine(self.logger, content, self.engine_host_code_allowed)


@cache
def _session(onnx: Path, changed: int, half: bool) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    if half:
        # As the backend does: the levels above change the layout, which crashes on such graphs.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    return onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])


class Engine:
    """An engine, see `tensorrt.ICudaEngine`."""

    def __init__(
        self,
        machine: Machine,
        cuda: StandInCuda,
        logger: Any,
        spec: StageSpec,
        onnx: Path,
        half: bool,
        weights: Sequence[str] | None = None,
    ) -> None:
        self.machine, self.cuda, self.logger, self.spec = machine, cuda, logger, spec
        self.onnx, self.half = onnx, half
        self.tensors = {tensor.name: tensor for tensor in (*spec.inputs, *spec.outputs)}
        self.num_io_tensors = len(self.tensors)
        self.num_optimization_profiles = max(1, len(spec.profiles))
        self.contexts = 0
        self.refittable = weights is not None
        self.lacks = list(weights or ())

    @property
    def session(self) -> Any:
        return _session(self.onnx, self.onnx.stat().st_mtime_ns, self.half)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> str:
        return "INPUT" if any(tensor.name == name for tensor in self.spec.inputs) else "OUTPUT"

    def get_tensor_dtype(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name=_NAMES[self.tensors[name].dtype])

    def get_device_memory_size_for_profile_v2(self, profile: int) -> int:
        sizes = {axis.name: axis.maximum for axis in self.spec.axes}
        if self.spec.profiles:
            sizes |= {name: most for name, (_, _, most) in self.spec.profiles[profile].ranges.items()}
        return self.scratch(sizes)

    def scratch(self, sizes: Mapping[str, int]) -> int:
        total = sum(bytes_of(tensor.dtype, tensor.resolve(sizes)) for tensor in self.spec.outputs)
        return math.ceil(self.machine.scratch * self.machine.hungry.get(self.spec.name, 1.0) * total)

    def create_engine_inspector(self) -> SimpleNamespace:
        self.cuda._check()
        inspector = SimpleNamespace(execution_context=None)
        inspector.get_engine_information = lambda form: (
            f"{form} of profile {inspector.execution_context.profile}"
        )
        return inspector

    def create_execution_context(self, strategy: str) -> Context:
        self.cuda._check(records=False)
        assert strategy == "USER_MANAGED"
        if self.lacks:
            raise DeviceFaultError(f"stage {self.spec.name} has no weights yet: {', '.join(self.lacks)}")
        self.contexts += 1
        made = Context(self)
        if self.machine.exact:
            made.update_device_memory_size_for_shapes = made.exact_scratch  # type: ignore[attr-defined]
        return made


class Refitter:
    """What gives an engine its weights, see `tensorrt.Refitter`."""

    def __init__(self, engine: Engine, logger: Any) -> None:
        engine.cuda._check(records=False)
        if engine.contexts:
            raise DeviceFaultError(f"stage {engine.spec.name} has contexts, which know other weights")
        self.engine, self.logger = engine, logger
        self.given: Path | None = None
        self.names: set[str] = set()

    def get_all_weights(self) -> list[str]:
        return list(self.engine.lacks)

    def get_missing_weights(self) -> list[str]:
        hidden = self.engine.machine.hides_missing
        return [] if hidden else [name for name in self.engine.lacks if name not in self.names]

    def refit_cuda_engine(self) -> bool:
        if self.given is None or self.engine.machine.refit_fails:
            self.logger.log(1, "refit failed")
            return False
        self.engine.onnx, self.engine.lacks = self.given, []
        return True


class OnnxParserRefitter:
    """What takes the weights of a graph, see `tensorrt.OnnxParserRefitter`."""

    def __init__(self, refitter: Refitter, logger: Any) -> None:
        self.refitter, self.logger = refitter, logger

    def refit_from_file(self, model: str) -> bool:
        import onnx

        # With its external data: a file that is not there is an error.
        graph = onnx.load(model).graph
        self.refitter.names, self.refitter.given = {one.name for one in graph.initializer}, Path(model)
        lacking = set(self.refitter.engine.lacks) - self.refitter.names
        if lacking:
            self.logger.log(1, "not all weights were refitted")
        return not lacking


class Context:
    """An execution context, see `tensorrt.IExecutionContext`."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.cuda = engine, engine.cuda
        self.profile = 0
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.ran: dict[str, tuple[int, ...]] | None = None
        self.addresses: dict[str, int] = {}
        self.memory = (0, 0)
        self.needs: int | None = None
        self.profiler: Any = None

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self.cuda._check(records=False)
        self.profile = profile
        return stream == self.cuda.stream

    def set_input_shape(self, name: str, shape: Iterable[int]) -> bool:
        spec, shape = self.engine.spec, tuple(shape)
        ranges = spec.profiles[self.profile].ranges if spec.profiles else {}
        for found, dimension in zip(shape, self.engine.tensors[name].shape, strict=True):
            axis, divisor = ("", 1) if isinstance(dimension, int) else split_dimension(dimension)
            least, _, most = ranges.get(axis, (1, 1, 2**31))
            if not least <= found * divisor <= most or (isinstance(dimension, int) and found != dimension):
                message = f"{name} {shape} does not satisfy any optimization profile"
                self.engine.logger.log(1, message)
                return False
        if self.shapes.get(name) != shape:
            self.needs = None
        self.shapes[name] = shape
        return True

    def exact_scratch(self) -> int:
        self.needs = self.engine.scratch(self._sizes())
        return self.needs

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes.get(name) or self.engine.tensors[name].resolve(self._sizes())

    def set_tensor_address(self, name: str, address: int) -> bool:
        if address % 256:
            raise DeviceFaultError(f"{name} is at {address:#x}, which is no multiple of 256")
        self.addresses[name] = address
        return True

    def set_device_memory(self, address: int, size: int) -> None:
        if address % 256:
            raise DeviceFaultError(f"scratch memory at {address:#x}, which is no multiple of 256")
        self.memory = (address, size)

    def execute_async_v3(self, stream: int) -> bool:
        spec, machine = self.engine.spec, self.engine.machine
        if stream != self.cuda.stream:
            raise DeviceFaultError(f"stage {spec.name} runs on stream {stream}")
        windows = self._sizes().get("windows", 1)
        if spec.name in machine.refuses and windows > machine.refuses_above.get(spec.name, 0):
            self.engine.logger.log(1, machine.refuses[spec.name])
            return False
        if self.cuda._recording is not None and self.ran != self.shapes:
            raise DeviceFaultError(f"stage {spec.name} has new shapes while it is recorded")
        needed = self.engine.get_device_memory_size_for_profile_v2(self.profile)
        needed = needed if self.needs is None else self.needs
        if self.memory[1] < needed:
            raise DeviceFaultError(
                f"stage {spec.name} needs {needed} bytes of scratch, it has {self.memory[1]}"
            )
        reads, writes = ([self._place(tensor) for tensor in side] for side in (spec.inputs, spec.outputs))
        scratch = [(self.memory[0], needed)] if needed else []
        addresses, shapes = dict(self.addresses), dict(self.shapes)
        self.cuda.queue(
            lambda: self._run(addresses, shapes, scratch), reads=reads, writes=[*writes, *scratch]
        )
        self.ran = shapes
        if self.profiler is not None:
            self.profiler.times.append(f"profile {self.profile}")
        return True

    def _run(
        self,
        addresses: Mapping[str, int],
        shapes: dict[str, tuple[int, ...]],
        scratch: list[tuple[int, int]],
    ) -> None:
        spec, machine, space = self.engine.spec, self.engine.machine, self.cuda.space
        machine.ran.append((spec.name, shapes))
        if spec.name in machine.crashes:
            raise BackendError("CUDA: an illegal memory access was encountered (cudaErrorIllegalAddress)")
        inputs = {}
        for tensor in spec.inputs:
            content = space.read(addresses[tensor.name], bytes_of(tensor.dtype, shapes[tensor.name]))
            inputs[tensor.name] = content.view(tensor.dtype).reshape(shapes[tensor.name]).copy()
        for place, size in scratch:
            space.spoil(place, size)
        spared = machine.spares.get(spec.name, 0) > 0
        if spared:
            machine.spares[spec.name] -= 1
        names = [tensor.name for tensor in spec.outputs]
        found = dict(zip(names, self.engine.session.run(names, inputs), strict=True))
        for tensor in spec.outputs:
            array = np.ascontiguousarray(found[tensor.name])
            declared = tensor.resolve(_sizes(spec, shapes))
            if array.shape != declared or array.dtype != tensor.dtype:
                raise DeviceFaultError(
                    f"stage {spec.name}: {tensor.name} is {array.dtype} {array.shape}, declared {declared}"
                )
            if machine.not_finite.get(spec.name) == tensor.name and not spared:
                array = np.full_like(array, np.nan)
            space.write(addresses[tensor.name], array.reshape(-1).view(np.uint8), array.nbytes)

    def _place(self, tensor: Tensor) -> tuple[int, int]:
        if tensor.name not in self.addresses:
            raise DeviceFaultError(f"{tensor.name} has no address")
        return self.addresses[tensor.name], bytes_of(tensor.dtype, self.get_tensor_shape(tensor.name))

    def _sizes(self) -> dict[str, int]:
        return _sizes(self.engine.spec, self.shapes)


def _sizes(spec: StageSpec, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for tensor in spec.inputs:
        for found, dimension in zip(shapes[tensor.name], tensor.shape, strict=True):
            if isinstance(dimension, str):
                axis, divisor = split_dimension(dimension)
                sizes[axis] = found * divisor
    return sizes
