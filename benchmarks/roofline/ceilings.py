"""What the machine can do at most, measured with small graphs in the backend whose stages are judged.

A graph takes one number and returns one, so that no copy between host and device is in the time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.builders import open_builder
from odise_trt.backends import Backend, Engine
from odise_trt.backends.registry import find_backend
from odise_trt.errors import BackendError
from odise_trt.stage_spec import PRECISIONS, StageSpec, Tensor


@dataclass(frozen=True)
class Size:
    """Sizes of the graphs.

    Attributes:
        side: of the square matrices.
        channels, height: of the maps that are convolved, square.
        repeats: products or convolutions in a row.
        copied: bytes of each of the two buffers of the copy. They must not fit into a cache.
    """

    side: int
    channels: int
    height: int
    repeats: int
    copied: int = 256 * 2**20


#: Large enough for full speed, and short enough to be run often.
SIZES = {"cpu": Size(1024, 128, 128, 4), "cuda": Size(4096, 512, 128, 16)}


@dataclass(frozen=True)
class Ceilings:
    """Measured limits.

    Attributes:
        matmul, conv: operations per second of matrix products and of 3x3 convolutions.
        copy: bytes per second, read and written bytes both counted.
    """

    matmul: float
    conv: float
    copy: float


@dataclass(frozen=True)
class Probe:
    """A piece of work whose amount is known.

    Attributes:
        amount: operations, or bytes.
        run: does it once.
    """

    amount: int
    run: Callable[[], object]


@dataclass(frozen=True)
class _Entry:
    spec: StageSpec
    file: str
    precision: str | None = None
    weights_from: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        return (self.file,)


@contextmanager
def probes(
    backend: Backend, precision: str, device: str, threads: int, size: Size
) -> Iterator[Mapping[str, Probe]]:
    """Open the probes "matmul" and "conv" in a backend, and "copy" on its device.

    Args:
        backend: an opened backend.
        precision: of the graphs, as in a manifest. One that only the backend knows, such as "bf16", takes
            graphs in float32.
        device: "cpu", "cuda" or "cuda:1".
        threads: CPU threads of the copy.

    Raises:
        BackendError: a graph does not run, or device memory cannot be copied here.
        ExportError: a graph cannot be built.
    """
    dtype = PRECISIONS.get(precision, "float32")
    with ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        graphs = {"matmul": _matmul(size, dtype), "conv": _conv(size, dtype)}
        amounts = {
            "matmul": 2 * size.side**3 * size.repeats,
            "conv": 2 * size.channels**2 * 9 * size.height**2 * size.repeats,
        }
        found = {}
        for name, graph in graphs.items():
            engine = _open(backend, folder, name, graph, dtype)
            resources.callback(engine.close)
            found[name] = Probe(amounts[name], partial(engine.run, {"x": np.zeros((1, 1), dtype)}))
        found["copy"] = _copy(resources, device, threads, size.copied)
        yield found


def ceilings(seconds: Mapping[str, float], found: Mapping[str, Probe]) -> Ceilings:
    """Return the limits from the seconds of each probe. `Timing.busy` gives them."""
    return Ceilings(**{name: probe.amount / seconds[name] for name, probe in found.items()})


def _open(backend: Backend, folder: Path, name: str, graph: onnx.ModelProto, dtype: str) -> Engine:
    number = (Tensor("x", dtype, (1, 1)),), (Tensor("y", dtype, (1, 1)),)
    spec = StageSpec(name, *number, axes=(), profiles=())
    entry = find_backend(backend.name)
    onnx_file = folder / f"{name}.onnx"
    onnx.save(graph, onnx_file)
    builder = open_builder(entry, ())
    if builder is not None:
        builder.build(spec, onnx_file, folder / f"{name}{entry.suffix}", lambda *_: None)
    return backend.open_stage(folder, _Entry(spec, f"{name}{entry.suffix if builder else '.onnx'}"))


def _matmul(size: Size, dtype: str) -> onnx.ModelProto:
    shape = size.side, size.side
    nodes = [
        helper.make_node("MatMul", [f"x{step}", "weight"], [f"x{step + 1}"]) for step in range(size.repeats)
    ]
    return _graph(nodes, size.repeats, shape, _random(shape, size.side, dtype), dtype)


def _conv(size: Size, dtype: str) -> onnx.ModelProto:
    weight = size.channels, size.channels, 3, 3
    nodes = [
        helper.make_node("Conv", [f"x{step}", "weight"], [f"x{step + 1}"], pads=[1, 1, 1, 1])
        for step in range(size.repeats)
    ]
    shape = 1, size.channels, size.height, size.height
    return _graph(nodes, size.repeats, shape, _random(weight, 9 * size.channels, dtype), dtype)


def _graph(
    nodes: list[onnx.NodeProto], repeats: int, shape: tuple[int, ...], weight: np.ndarray, dtype: str
) -> onnx.ModelProto:
    """One number is added to a map, the nodes follow, and the largest element is the result."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    number = [helper.make_tensor_value_info(name, element, (1, 1)) for name in ("x", "y")]
    start = _random(shape, 1, dtype)
    weights = {"start": start, "weight": weight, "flat": np.array([1, -1])}
    body = [
        helper.make_node("Add", ["start", "x"], ["x0"]),
        *nodes,
        helper.make_node("Reshape", [f"x{repeats}", "flat"], ["row"]),
        helper.make_node("ReduceMax", ["row"], ["y"], keepdims=1),
    ]
    graph = helper.make_graph(
        body,
        "ceiling",
        number[:1],
        number[1:],
        [numpy_helper.from_array(one, name) for name, one in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def _random(shape: tuple[int, ...], fan_in: int, dtype: str) -> np.ndarray:
    # Zeros would cost less power than real numbers. The scale keeps fp16 finite over all repeats.
    return (np.random.default_rng(0).standard_normal(shape) / np.sqrt(fan_in)).astype(dtype)


def _copy(resources: ExitStack, device: str, threads: int, size: int) -> Probe:
    if device != "cpu":
        return Probe(2 * size, _device_copy(device, size))
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    pool = resources.enter_context(ThreadPoolExecutor(threads))
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))

    def run() -> None:
        # numpy copies without the interpreter lock.
        list(pool.map(lambda part: np.copyto(*part), parts))

    return Probe(2 * size, run)


def _device_copy(device: str, size: int) -> Callable[[], object]:
    import torch

    if not torch.cuda.is_available():
        raise BackendError(
            "the copy bandwidth of a GPU is measured by PyTorch, and this one has no CUDA",
            "install a PyTorch for CUDA: https://pytorch.org/get-started",
        )
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def run() -> None:
        target.copy_(source)
        torch.cuda.synchronize(device)

    return run
