"""The OpenVINO backend. It runs the exported float32 graphs on the CPU, in fp32 or in bf16.

OpenVINO computes everything in bf16 that a bf16 engine lets it, also numbers that the graph derives from the
sizes of its inputs, such as positions in a resize. Rounded to 8 bits they are wrong. So the axes that a
profile of the stage holds at one size are compiled for one size: those numbers are then constants, worked out
in float32 while compiling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendError
from ..stage_spec import StageSpec
from .base import Health, Options, StageFiles, check_inputs
from .fixed_sizes import batch_axis, held_axes, open_shape
from .mapped_files import release_pages
from .processor import ARITHMETIC, arithmetic
from .registry import BackendEntry

_DEVICE = "CPU"
_TYPES = {"f32": "float32", "f16": "float16", "i64": "int64", "i32": "int32", "u8": "uint8"}
#: Precision of a stage -> OpenVINO's name of the type that it computes in.
_COMPUTES = {"fp32": "f32", "bf16": "bf16"}
_IN_FP32 = "build the bundle in fp32: --precision fp32"
#: Stages with files larger than this free their scratch memory after each run.
_SHRINK_FROM = 32 * 2**20
#: Modules of OpenVINO, each with its one `Core` of this process, see `_core`. A profiler has its own module.
_CORES: list[tuple[Any, Any]] = []


class OpenVinoBackend:
    """Opens ONNX files in OpenVINO on the CPU.

    Raises:
        BackendError: openvino is not installed or has no CPU plugin, or another device is asked for.
    """

    def __init__(self, entry: BackendEntry, options: Options) -> None:
        self.name = entry.name
        if options.device != "cpu":
            raise BackendError(
                f"{entry.name} runs on the CPU, not on {options.device!r:.80}",
                'leave the device out, or give "cpu"',
            )
        self._openvino = entry.load()
        self._precision = options.precision
        self._threads = options.threads
        self._core = _core(self._openvino, entry)

    def mismatch(self, built: Mapping[str, Any]) -> str | None:
        """Compare the arithmetic that the engines need with what this processor has."""
        missing = [name for name in built.get("arithmetic") or () if name not in arithmetic()]
        return f"it needs a processor with {' and '.join(missing)} arithmetic" if missing else None

    def open_stage(self, folder: Path, entry: StageFiles) -> OpenVinoEngine:
        """Load one stage, see `Backend.open_stage`."""
        if self._core is None:
            raise BackendError(f"backend {self.name} was closed")
        precision = entry.precision or self._precision
        if precision not in _COMPUTES:
            raise BackendError(f"{self.name} does not compute in {precision}", _IN_FP32)
        if precision == "bf16":
            _require_bf16(self.name)
        path, core = folder / entry.file, self._core
        weights = [folder / name for name in entry.files if name != entry.file]
        config = {
            # Left out, OpenVINO takes bf16 on processors that have it.
            "INFERENCE_PRECISION_HINT": _COMPUTES[precision],
            "EXECUTION_MODE_HINT": "ACCURACY" if precision == "fp32" else "PERFORMANCE",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self._threads,
            # A pinned thread waits for its core while another program uses it.
            "ENABLE_CPU_PINNING": False,
        }

        def compiled(shapes: Mapping[str, list[int]]) -> Any:
            with _errors(f"stage {entry.spec.name}: {self.name} cannot open {path}"):
                model = core.read_model(path)
                _check_declaration(path, entry.spec, model)
                if shapes:
                    model.reshape(dict(shapes))
                made = core.compile_model(model, _DEVICE, config)
                if weights:
                    release_pages(weights)
                computes = made.get_property("INFERENCE_PRECISION_HINT").get_type_name()
            if computes != _COMPUTES[precision]:
                raise BackendError(
                    f"stage {entry.spec.name}: {self.name} computes in {computes}, {precision} was asked for",
                    _IN_FP32,
                )
            return made

        size = sum((folder / name).stat().st_size for name in entry.files)
        return OpenVinoEngine(self._openvino, compiled, entry.spec, size > _SHRINK_FROM, weights)

    def describe(self) -> dict[str, str]:
        """Return version, device and threads."""
        return {
            "backend": f"{self.name} {version(self._openvino)}",
            "device": "cpu",
            "computes in": self._precision,
            "threads": str(self._threads),
        }

    def close(self) -> None:
        """Open no more stages. OpenVINO itself stays, see `_core`."""
        self._core = None


class OpenVinoEngine:
    """A stage compiled by OpenVINO, see `Engine`.

    If a profile holds axes at one size, the stage is compiled for that size, and again when another comes.
    One compiled stage is kept. It takes its batch one by one: with no axis left open that is faster than the
    whole batch at once, and it needs the scratch memory of one.

    Args:
        openvino: the module.
        compiled: compiles the stage for the given shapes of inputs, with -1 for sizes left open.
        spec: the declaration.
        shrink: whether scratch memory is freed after each run.
        weights: files of weights that are mapped. Their memory is given back after each run.
    """

    def __init__(
        self,
        openvino: Any,
        compiled: Callable[[Mapping[str, list[int]]], Any],
        spec: StageSpec,
        shrink: bool,
        weights: Sequence[Path] = (),
    ) -> None:
        self.spec = spec
        self._openvino = openvino
        self._compile = compiled
        self._shrink = shrink
        self._weights = weights
        usual = held_axes(spec)
        self._held = tuple(usual)
        self._batch = batch_axis(spec) if usual else None
        self._compiled: Any = None
        self._request: Any = None
        self._sizes: dict[str, int] | None = None
        self._closed = False
        self._prepare(usual)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the stage once, see `Engine.run`."""
        if self._closed:
            raise BackendError(f"stage {self.spec.name} was closed")
        sizes = check_inputs(self.spec, inputs)
        self._prepare({axis: sizes[axis] for axis in self._held})
        # OpenVINO reads and writes numpy's memory, and takes no array that is read-only.
        arrays = {name: np.require(array, requirements=("C", "W")) for name, array in inputs.items()}
        outputs = {tensor.name: np.empty(tensor.resolve(sizes), tensor.dtype) for tensor in self.spec.outputs}
        tensors = {tensor.name: tensor for tensor in (*self.spec.inputs, *self.spec.outputs)}
        parts = [slice(n, n + 1) for n in range(sizes[self._batch])] if self._batch else [slice(None)]
        with _errors(f"stage {self.spec.name} failed in openvino"):
            for part in parts:
                for name, array in (arrays | outputs).items():
                    share = array[part] if self._batch and self._batch in tensors[name].shape else array
                    self._request.set_tensor(name, self._openvino.Tensor(share, shared_memory=True))
                self._request.infer()
            if self._shrink:
                self._compiled.release_memory()
            if self._weights:
                release_pages(self._weights)
        return outputs

    def close(self) -> None:
        """Free the compiled stage."""
        self._closed = True
        self._request = self._compiled = None

    def _prepare(self, sizes: Mapping[str, int]) -> None:
        if self._sizes == dict(sizes):
            return
        # The old one goes first: both together would need twice the memory of the weights.
        self._request = self._compiled = self._sizes = None
        known = {**sizes, self._batch: 1} if self._batch else dict(sizes)
        self._compiled = self._compile(
            {t.name: open_shape(t, known) for t in self.spec.inputs} if sizes else {}
        )
        self._request = self._compiled.create_infer_request()
        self._sizes = dict(sizes)


def ties(name: str, precision: str) -> dict[str, Any]:
    """Return what engines of a precision are tied to, for their manifest.

    Raises:
        BackendError: this processor cannot run them.
    """
    if precision == "bf16":
        _require_bf16(name)
    return {"arithmetic": ["bf16"]} if precision == "bf16" else {}


def examine(openvino: Any) -> Health:
    """Report what an installation offers, and which arithmetic of the processor it can use."""
    if not hasattr(openvino, "Core"):
        return Health(False, "damaged: it has no Core", "pip install --force-reinstall openvino")
    have = arithmetic()
    words = [f"{kind}: {', '.join(have[kind]) if kind in have else 'no'}" for kind in ARITHMETIC]
    return Health(True, "; ".join([version(openvino), *words]))


def version(openvino: Any) -> str:
    """Return the version without the number and branch of its build: "2026.4.1"."""
    return str(openvino.__version__).partition("-")[0]


def _require_bf16(name: str) -> None:
    # OpenVINO would imitate it, slowly.
    if "bf16" not in arithmetic():
        raise BackendError(
            f"{name} in bf16 needs a processor with bf16 arithmetic, this one has none", _IN_FP32
        )


def _core(openvino: Any, entry: BackendEntry) -> Any:
    """Return the `Core` of this process, which is never freed.

    Every `Core` gives the thread a stack of its own for signals, and frees it at its end. If two end in the
    order in which they were made, or one ends in another thread, the thread's stack is one that was freed.
    The next signal, Ctrl-C or SIGTERM, then ends the process (seen in openvino 2026.4.1).
    """
    try:
        core = next((core for module, core in _CORES if module is openvino), None)
        if core is None:
            core = openvino.Core()
            _CORES.append((openvino, core))
        devices = list(core.available_devices)
    # A damaged installation fails in several ways.
    except Exception as error:
        raise BackendError(f"{entry.name} cannot start: {error}", entry.install) from error
    if _DEVICE not in devices:
        raise BackendError(
            f"this {entry.name} has no plugin for the CPU (it has: {', '.join(devices) or 'none'})",
            entry.install,
        )
    return core


def _check_declaration(path: Path, spec: StageSpec, model: Any) -> None:
    for side, tensors, ports in (
        ("inputs", spec.inputs, model.inputs),
        ("outputs", spec.outputs, model.outputs),
    ):
        declared = {tensor.name: tensor.dtype for tensor in tensors}
        found = {}
        for port in ports:
            # A tensor can have several names: an output that passes an input on has both.
            names = port.get_names()
            kind = port.get_element_type().get_type_name()
            found[next((n for n in sorted(names) if n in declared), port.any_name)] = _TYPES.get(kind, kind)
        if found != declared:
            raise BackendError(
                f"{path} has {side} {found}, the manifest declares {declared}", "build the stage again"
            )


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        yield
    except BackendError:
        raise
    # Its exceptions share no base but Exception.
    except Exception as error:
        raise BackendError(f"{what}: {error}", "build the stage again, or update openvino") from error
