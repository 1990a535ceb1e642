"""Builds engines from ONNX files, for TensorRT and for TensorRT for RTX. The flavour's module is an argument.

Networks are strongly typed: the graph states which parts run in half precision (see `export.precision`).
TensorRT for RTX builds on machines without a GPU. TensorRT needs the GPU that the engine is for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odise_trt.backends import host_os
from odise_trt.backends.cuda import open_cuda
from odise_trt.backends.registry import BackendEntry
from odise_trt.backends.tensorrt import collecting_logger
from odise_trt.errors import BackendError, ExportError
from odise_trt.files.writing import write_file
from odise_trt.machine_memory import give_back
from odise_trt.stage_spec import StageSpec

from . import AHEAD, Progress
from .compatibility import make_compatible, require_ampere
from .stripping import require_gpu, strip

if TYPE_CHECKING:
    import tensorrt as trt

#: Names of `ComputeCapability`: SM89 is "8.9". Nothing else in TensorRT's API states the number.
_CAPABILITY = "SM{}"
_DTYPES = {"FLOAT": "float32", "HALF": "float16", "INT64": "int64", "INT32": "int32", "UINT8": "uint8"}
_MESSAGES_SHOWN = 5


class TensorRTBuilder:
    """Builds engines of one flavour, see `Builder`.

    Raises:
        BackendError: the flavour is not installed, does not find the GPU it needs, does not build for one of
            the compute capabilities, or cannot leave weights out or make engines compatible on this machine.
    """

    def __init__(
        self,
        entry: BackendEntry,
        compute_capabilities: Sequence[str],
        strip_weights: bool = False,
        compatible: Sequence[str] = (),
    ) -> None:
        self._flavour = entry.load()
        self._capabilities = tuple(compute_capabilities)
        self.strips_weights = strip_weights
        self._compatible = tuple(compatible)
        self.facts = _facts(entry.name, self._flavour, self._capabilities, self._compatible)
        if strip_weights and capability_names(self._flavour):
            require_gpu(entry.name, self._flavour.__version__)

    def build(self, spec: StageSpec, onnx: Path, engine: Path, progress: Progress) -> None:
        """See `Builder.build`."""
        build_engine(
            self._flavour,
            spec,
            onnx,
            engine,
            compute_capabilities=self._capabilities,
            strip_weights=self.strips_weights,
            compatible=self._compatible,
            progress=progress,
        )
        # What the compiler has freed, gigabytes for a large stage, would stay while the next one is exported.
        give_back()


def _facts(
    name: str, flavour: Any, capabilities: Sequence[str], compatible: Sequence[str]
) -> Mapping[str, Any]:
    facts = {"name": name, "version": flavour.__version__, "os": host_os()}
    ahead = capability_names(flavour)
    if ahead:
        if unknown := [number for number in capabilities if number not in ahead]:
            raise BackendError(
                f"{name} does not build for compute capability {', '.join(unknown)}",
                f"it builds for {', '.join(ahead)}",
            )
        return {**facts, "compute_capability": list(capabilities)}
    gpu = open_cuda().device
    if set(capabilities) - {gpu.compute_capability}:
        raise BackendError(
            f"{name} builds for the GPU of this machine only, {gpu.name} ({gpu.compute_capability})",
            f"leave --compute-capability out, or use {AHEAD}",
        )
    require_ampere(name, gpu.name, gpu.compute_capability, compatible)
    return {
        **facts,
        "compute_capability": [gpu.compute_capability],
        "gpu": gpu.name,
        "driver": gpu.driver,
        **({"compatible": list(compatible)} if compatible else {}),
    }


def build_engine(
    flavour: Any,
    spec: StageSpec,
    onnx: Path,
    engine: Path,
    *,
    compute_capabilities: Sequence[str] = (),
    strip_weights: bool = False,
    compatible: Sequence[str] = (),
    progress: Progress | None = None,
) -> None:
    """Build `engine` from the graph `onnx`, which has its external data beside it.

    Args:
        flavour: the module `tensorrt` or `tensorrt_rtx`.
        spec: the declaration at the precision of the graph. The engine has its profiles, in order.
        onnx: the graph.
        engine: the path to write. The file appears when it is complete.
        compute_capabilities: the GPUs to build for, like "8.9". TensorRT for RTX only. Empty: every GPU the
            flavour supports. The kernels are compiled on the GPU, when the engine is first opened.
        strip_weights: the engine has no weights. It takes those of `onnx` when it is opened.
        compatible: what the engine is compatible with besides this machine, see `builders.compatibility`.
        progress: called during the build, from TensorRT's threads.

    Raises:
        BackendError: the flavour does not find the device it needs, or does not know a compute capability.
        ExportError: the graph does not parse, differs from what `spec` declares, or does not build.
        OutputError: the engine cannot be written.
    """
    logger = collecting_logger(flavour, [])
    builder = _builder(flavour, logger)
    # The parser owns the weights that the network refers to. It must exist until the engine is built.
    network, _parser = _parse(flavour, builder, logger, spec, onnx)
    config = _config(flavour, builder, strip_weights, compatible)
    for profile in _profiles(builder, spec):
        config.add_optimization_profile(profile)
    _set_capabilities(flavour, config, compute_capabilities)
    if progress is not None:
        config.progress_monitor = _monitor(flavour, progress)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise ExportError(
            f"{flavour.__name__} cannot build stage {spec.name}:\n{_listed(logger.errors)}",
            "build it for onnxruntime to see whether the graph itself is at fault",
        )
    write_file(engine, memoryview(serialized))


def _config(flavour: Any, builder: Any, strip_weights: bool = False, compatible: Sequence[str] = ()) -> Any:
    config = builder.create_builder_config()
    # TF32 would round float32 operands to 10-bit mantissas, the precision of fp16.
    config.clear_flag(flavour.BuilderFlag.TF32)
    # The engine can then say what each of its layers is. It costs no time.
    config.profiling_verbosity = flavour.ProfilingVerbosity.DETAILED
    if strip_weights:
        strip(flavour, config)
    make_compatible(flavour, config, compatible)
    return config


def capability_names(flavour: Any) -> tuple[str, ...]:
    """Return the compute capabilities that engines can be built for ahead of time: ("7.5", ..., "12.0")."""
    members = getattr(getattr(flavour, "ComputeCapability", None), "__members__", {})
    digits = [name.removeprefix("SM") for name in members if name.startswith("SM")]
    return tuple(f"{number[:-1]}.{number[-1]}" for number in sorted(digits, key=int))


def _builder(flavour: Any, logger: Any) -> trt.Builder:
    try:
        return flavour.Builder(logger)
    # Without a usable driver, TensorRT's constructor returns null, and its Python binding raises TypeError.
    except (TypeError, RuntimeError) as error:
        raise BackendError(
            f"{flavour.__name__} {flavour.__version__} finds no GPU to build for: {_listed(logger.errors)}",
            f"build where the GPU is, or use {AHEAD}, which builds without one",
        ) from error


def _parse(
    flavour: Any, builder: trt.Builder, logger: Any, spec: StageSpec, onnx: Path
) -> tuple[trt.INetworkDefinition, trt.OnnxParser]:
    # Strong typing is always on in TensorRT 11. In TensorRT 10 it is a flag.
    strongly_typed = getattr(flavour.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if strongly_typed is None else 1 << int(strongly_typed))
    parser = flavour.OnnxParser(network, logger)
    if not parser.parse_from_file(os.fspath(onnx)):
        problems = [_problem(parser.get_error(index)) for index in range(parser.num_errors)]
        raise ExportError(
            f"{flavour.__name__} cannot parse stage {spec.name}:\n{_listed(problems or logger.errors)}",
            "try another --opset or the other --sampling",
        )
    _compare(network, spec)
    return network, parser


def _compare(network: trt.INetworkDefinition, spec: StageSpec) -> None:
    found = {
        "inputs": [_describe(network.get_input(index)) for index in range(network.num_inputs)],
        "outputs": [_describe(network.get_output(index)) for index in range(network.num_outputs)],
    }
    for kind, tensors in (("inputs", spec.inputs), ("outputs", spec.outputs)):
        declared = [(tensor.name, tensor.dtype, _open(tensor.shape)) for tensor in tensors]
        fixed = [(tensor.name, tensor.dtype, _open(spec.known(tensor))) for tensor in tensors]
        # An axis that has one size may be a constant of the graph, or not.
        if found[kind] not in (declared, fixed):
            raise ExportError(
                f"the {kind} of the parsed network differ from the declaration of stage {spec.name}\n"
                f"  declared {declared}\n  found    {found[kind]}",
                "export the stage again, and make forward() and declare() of the stage agree",
            )


def _open(shape: Sequence[int | str]) -> tuple[int, ...]:
    return tuple(-1 if isinstance(size, str) else size for size in shape)


def _describe(tensor: Any) -> tuple[str, str, tuple[int, ...]]:
    return tensor.name, _DTYPES.get(tensor.dtype.name, tensor.dtype.name), tuple(tensor.shape)


def _profiles(builder: trt.Builder, spec: StageSpec) -> list[trt.IOptimizationProfile]:
    profiles = []
    for declared in spec.profiles:
        profile = builder.create_optimization_profile()
        for tensor in spec.inputs:
            if any(isinstance(size, str) for size in tensor.shape):
                least, typical, most = (
                    tensor.resolve({axis: sizes[place] for axis, sizes in declared.ranges.items()})
                    for place in range(3)
                )
                profile.set_shape(tensor.name, least, typical, most)
        profiles.append(profile)
    return profiles


def _set_capabilities(flavour: Any, config: trt.IBuilderConfig, wanted: Sequence[str]) -> None:
    if not wanted:
        return
    known = capability_names(flavour)
    if not known:
        raise BackendError(
            f"{flavour.__name__} builds for the GPU of this machine only",
            f"leave --compute-capability out, or use {AHEAD}",
        )
    if unknown := [capability for capability in wanted if capability not in known]:
        raise BackendError(
            f"{flavour.__name__} does not build for compute capability {', '.join(unknown)}",
            f"it builds for {', '.join(known)}",
        )
    config.num_compute_capabilities = len(wanted)
    for index, capability in enumerate(wanted):
        member = _CAPABILITY.format(capability.replace(".", ""))
        config.set_compute_capability(flavour.ComputeCapability.__members__[member], index)


def _problem(error: Any) -> str:
    return f"{error.node_operator()} {error.node_name()}: {error.desc()}".strip()


def _listed(messages: Sequence[str]) -> str:
    shown = [f"  {message.strip()[:400]}" for message in messages[:_MESSAGES_SHOWN]]
    if len(messages) > _MESSAGES_SHOWN:
        shown.append(f"  and {len(messages) - _MESSAGES_SHOWN} more")
    return "\n".join(shown) or "  no reason given"


def _monitor(flavour: Any, progress: Progress) -> Any:
    """Return a TensorRT progress monitor that calls `progress`. Phases nest, each with its own steps."""

    class Monitor(flavour.IProgressMonitor):
        def __init__(self) -> None:
            flavour.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.steps[phase] = steps
            progress(phase, 0, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            progress(phase, step + 1, self.steps.get(phase, 0))
            return True

        def phase_finish(self, phase: str) -> None:
            steps = self.steps.pop(phase, 0)
            progress(phase, steps, steps)

    return Monitor()
