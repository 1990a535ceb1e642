"""Engines run on tensors of the device, so that no copy between host and device is in their time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.builders import open_builder
from odise_trt.backends.base import check_inputs, choose_profile
from odise_trt.backends.onnxruntime import left_out, provider_of
from odise_trt.backends.registry import BackendEntry
from odise_trt.backends.tensorrt import collecting_logger
from odise_trt.errors import BackendError
from odise_trt.stage_spec import StageSpec

from .techniques import Graphed
from .timing import measure

_DTYPES = {"float16": (torch.float16, np.float16), "float32": (torch.float32, np.float32)}


@dataclass
class Measured:
    """What an engine is run with and compared with.

    Attributes:
        spec: the stage at the precision of the engine.
        inputs, expected: of the reference in float32, on the device, as declared.
        seconds: for the measured runs.
    """

    spec: StageSpec
    inputs: tuple[Tensor, ...]
    expected: tuple[Tensor, ...]
    seconds: float

    def __post_init__(self) -> None:
        self.device = self.inputs[0].device
        self.given = {
            declared.name: one.to(_DTYPES[declared.dtype][0]).contiguous()
            for declared, one in zip(self.spec.inputs, self.inputs, strict=True)
        }
        self.results = {
            declared.name: torch.empty(one.shape, dtype=_DTYPES[declared.dtype][0], device=self.device)
            for declared, one in zip(self.spec.outputs, self.expected, strict=True)
        }

    def timed(self, run: Callable[[], object]) -> dict[str, Any]:
        """Measure `run`, which fills `results`, and the distances of what it filled in."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        found = measure(lambda clock: run(), self.device, repeats=20, seconds=self.seconds)
        pairs = {
            name: (got.double(), want.double())
            for (name, got), want in zip(self.results.items(), self.expected, strict=True)
        }
        return found | {
            "relative_l2": {
                name: float((got - want).norm() / want.norm()) for name, (got, want) in pairs.items()
            },
            "max_abs": {name: float((got - want).abs().max()) for name, (got, want) in pairs.items()},
        }


def run_onnxruntime(entry: BackendEntry, path: Path, measured: Measured, graphs: bool) -> dict[str, Any]:
    """Run an ONNX file by IO binding. `graphs`: let the provider record and replay a CUDA graph."""
    onnxruntime = entry.load()
    device = measured.device
    provider, options = provider_of(entry, str(device))
    if device.type == "cuda":
        options["enable_cuda_graph"] = str(int(graphs))
    begin = time.perf_counter()
    session = onnxruntime.InferenceSession(
        str(path), providers=[(provider, options)], disabled_optimizers=left_out(entry)
    )
    opened = time.perf_counter() - begin
    binding = session.io_binding()
    for bind, tensors in ((binding.bind_input, measured.given), (binding.bind_output, measured.results)):
        for name, one in tensors.items():
            element = np.float16 if one.dtype == torch.float16 else np.float32
            bind(name, device.type, device.index or 0, element, tuple(one.shape), one.data_ptr())
    found = measured.timed(lambda: session.run_with_iobinding(binding))
    return found | {"providers": session.get_providers(), "opened_seconds": opened}


def run_tensorrt(entry: BackendEntry, path: Path, measured: Measured, graphs: bool) -> dict[str, Any]:
    """Build an engine from an ONNX file and run it. `graphs`: record a CUDA graph of it and replay that.

    Raises:
        BackendError: the GPU or the driver does not run the engine. The message is TensorRT's own.
        ExportError: it does not build.
    """
    flavour, messages = entry.load(), list[str]()
    begin = time.perf_counter()
    file = path.with_suffix(entry.suffix)
    if not file.exists():
        builder = open_builder(entry, ())
        assert builder is not None
        builder.build(measured.spec, path, file, lambda *_: None)
    built = time.perf_counter() - begin
    runtime = flavour.Runtime(collecting_logger(flavour, messages))
    engine = runtime.deserialize_cuda_engine(file.read_bytes())
    context = _context(flavour, engine) if engine is not None else None
    if context is None:
        raise BackendError(f"{entry.name} cannot load the engine: {'; '.join(messages) or 'no reason given'}")
    _bind(context, measured)

    def run() -> None:
        if not context.execute_async_v3(_stream(measured.device)):
            raise BackendError(
                f"{entry.name} cannot run the engine: {'; '.join(messages) or 'no reason given'}"
            )

    found = measured.timed(Graphed(run) if graphs else run)
    return found | {"built_seconds": built, "engine_bytes": file.stat().st_size}


def _context(flavour: Any, engine: Any) -> Any:
    strategies = getattr(flavour, "DynamicShapesKernelSpecializationStrategy", None)
    if strategies is None:
        return engine.create_execution_context()
    # TensorRT for RTX compiles kernels for the shapes in the background, and would begin with slower ones.
    config = engine.create_runtime_config()
    config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
    return engine.create_execution_context(config)


def _bind(context: Any, measured: Measured) -> None:
    spec, given = measured.spec, measured.given
    if spec.profiles:
        # Only shapes and dtypes are looked at, so no data is copied from the device.
        shaped = {
            name: np.broadcast_to(np.zeros((), _numpy(one)), tuple(one.shape)) for name, one in given.items()
        }
        sizes = check_inputs(spec, shaped)
        context.set_optimization_profile_async(choose_profile(spec, sizes), _stream(measured.device))
    for name, one in given.items():
        context.set_input_shape(name, tuple(one.shape))
    for name, one in (given | measured.results).items():
        context.set_tensor_address(name, one.data_ptr())


def _numpy(tensor: Tensor) -> Any:
    return np.float16 if tensor.dtype == torch.float16 else np.float32


def _stream(device: torch.device) -> int:
    return int(torch.cuda.current_stream().cuda_stream) if device.type == "cuda" else 0
