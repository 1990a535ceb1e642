"""Examines the machine: versions, devices and backends, and how to get the missing ones."""

from __future__ import annotations

import ctypes.util
import importlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from . import __version__, nvidia_smi
from .backends import available_threads, host_os
from .backends.registry import BACKENDS, BackendEntry, resolve
from .known_faults import KnownFault, faults_of
from .machine_memory import available_bytes, memory_bytes

_TOOLKIT = (
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "open_clip_torch",
    "onnx",
    "onnxscript",
    "polygraphy",
    "safetensors",
)
_RUNTIME = ("numpy", "pillow", "tokenizers", "pyyaml", "typer", "rich", "ftfy")
_NO_GPU = "needs an NVIDIA GPU with its driver: https://www.nvidia.com/drivers"
_UNKNOWN = "of unknown version: its metadata is damaged"
_INSTALL_AGAIN = "install it again: pip install --force-reinstall --no-deps"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        group: "system", "devices", "backends", "runtime" or "toolkit".
        name: name of what was checked.
        found: whether it is there and works.
        detail: version, size or providers, or what is wrong.
        needs: how to get it if it is missing.
        faults: what is known against this version.
    """

    group: str
    name: str
    found: bool
    detail: str
    needs: str = ""
    faults: tuple[KnownFault, ...] = ()

    @property
    def is_bad(self) -> bool:
        """Whether the version should be changed."""
        return any(fault.is_bad for fault in self.faults)

    def to_json(self) -> dict[str, Any]:
        """Return the attributes as a dictionary."""
        return asdict(self)


def examine() -> list[Finding]:
    """Examine the machine, in the order of the report. It never raises: a failed check is a finding too.

    It imports the packages of the backends, but neither torch nor anything else of the toolkit.
    """
    capabilities: list[str] = []
    gpus = _part("devices", "NVIDIA GPU", partial(_gpus, capabilities))
    has_gpu = any(gpu.found for gpu in gpus)
    runtime, toolkit = "pip install odise-trt", 'in a checkout: pip install -e ".[export]"'
    return [
        *(one for name, look in _SYSTEM.items() for one in _part("system", name, partial(_fact, name, look))),
        *gpus,
        *_part("devices", "CUDA for Python", lambda: [_cuda_python()]),
        *(
            one
            for name, entry in BACKENDS.items()
            for one in _part("backends", name, partial(_backend, entry, has_gpu, capabilities))
        ),
        *(
            one
            for name in _RUNTIME
            for one in _part("runtime", name, partial(_package, "runtime", name, runtime))
        ),
        *(
            one
            for name in _TOOLKIT
            for one in _part("toolkit", name, partial(_package, "toolkit", name, toolkit))
        ),
    ]


def usable_backends(findings: list[Finding]) -> list[str]:
    """Return the names of the backends that can run engines here."""
    return [finding.name for finding in findings if finding.group == "backends" and finding.found]


def _part(group: str, name: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """Return the findings of `look`, or one finding with the error if it raises."""
    try:
        return look()
    except Exception as error:
        detail = f"cannot be told: {type(error).__name__}: {_first_line(error)}"
        return [Finding(group, name, False, detail, "please report it, with this line")]


def _fact(name: str, look: Callable[[], str]) -> list[Finding]:
    return [Finding("system", name, True, look())]


def _gpus(capabilities: list[str]) -> list[Finding]:
    """Return a finding for each GPU, and add their compute capabilities to the list."""
    tool = nvidia_smi.find()
    if tool is None:
        # Containers may have the driver's library without its tools.
        library = ctypes.util.find_library("cuda")
        if library is None:
            return [Finding("devices", "NVIDIA GPU", False, "no driver (nvidia-smi, libcuda)", _NO_GPU)]
        detail = f"{library} is there, nvidia-smi is not: the GPU cannot be named"
        return [Finding("devices", "NVIDIA GPU", True, detail)]
    answer = nvidia_smi.ask(tool)
    if answer.failure:
        return [Finding("devices", "NVIDIA GPU", False, answer.failure, _NO_GPU)]
    capabilities += [gpu.compute_capability for gpu in answer.gpus if gpu.compute_capability]
    found = [Finding("devices", f"cuda:{n}", True, _gpu(gpu)) for n, gpu in enumerate(answer.gpus)]
    if answer.remarks:
        found.append(Finding("devices", "nvidia-smi", True, f"also said: {'; '.join(answer.remarks)[:300]}"))
    return found


def _gpu(gpu: nvidia_smi.Gpu) -> str:
    return ", ".join(
        (
            gpu.name,
            f"compute capability {gpu.compute_capability or 'unknown'}",
            gpu.memory or "memory unknown",
            f"driver {gpu.driver or 'unknown'}",
        )
    )


def _cuda_python() -> Finding:
    found = [name for name in ("cuda-python", "cuda-bindings", "pycuda") if _version(name)]
    if found:
        return Finding("devices", "CUDA for Python", True, ", ".join(f"{n} {_version(n)}" for n in found))
    needs = "pip install cuda-python (or pycuda); TensorRT needs it, ONNX Runtime does not"
    return Finding("devices", "CUDA for Python", False, "neither cuda-python nor pycuda", needs)


def _backend(entry: BackendEntry, has_gpu: bool, capabilities: list[str]) -> list[Finding]:
    try:
        # Output of a package during its import must not get into the report.
        with redirect_stdout(sys.stderr):
            package = entry.import_package()
    # Not only ImportError: TensorRT without its libraries fails in several ways.
    except (Exception, SystemExit) as error:
        detail = f"not installed ({_first_line(error)})"
        if not isinstance(error, ModuleNotFoundError):
            detail = f"cannot be loaded ({_first_line(error)})"
        return [Finding("backends", entry.name, False, detail, entry.install)]
    version = str(getattr(package, "__version__", "of unknown version"))
    found = _works(entry, package, version, has_gpu)
    return [replace(found, faults=faults_of(entry.package, version, capabilities))]


def _works(entry: BackendEntry, package: Any, version: str, has_gpu: bool) -> Finding:
    """Say whether a package that was imported can run engines."""
    if entry.examines is not None:
        health = resolve(entry.examines)(package)
        return Finding("backends", entry.name, health.works, health.detail, health.needs)
    if entry.needs_gpu and not has_gpu:
        ahead = ": engines can be built ahead of time, not run" if entry.builds_ahead else ""
        return Finding("backends", entry.name, False, f"{version}, but no GPU{ahead}", _NO_GPU)
    cuda = _cuda_python()
    if entry.needs_gpu and not cuda.found:
        return Finding("backends", entry.name, False, f"{version}, without CUDA for Python", cuda.needs)
    return Finding("backends", entry.name, True, version)


def _package(group: str, name: str, needs: str) -> list[Finding]:
    version = _version(name)
    if version is None:
        return [Finding(group, name, False, "not installed", needs)]
    if version == _UNKNOWN:
        return [Finding(group, name, True, version, f"{_INSTALL_AGAIN} {name}")]
    return [Finding(group, name, True, version)]


def _version(name: str) -> str | None:
    """Return the version of a package, or None if it is not installed."""
    try:
        return str(importlib.metadata.version(name) or _UNKNOWN)
    except importlib.metadata.PackageNotFoundError:
        return None
    except Exception:  # the metadata has no version, may not be read, or is not UTF-8
        return _UNKNOWN


def _processor() -> str:
    return ", ".join(
        part
        for part in (_processor_name(), f"{available_threads()} of {os.cpu_count() or 1} processors usable")
        if part
    )


def _processor_name() -> str:
    for line in _lines("/proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return platform.processor() or platform.machine()


def _memory() -> str:
    total, free = memory_bytes(), available_bytes()
    if total is None:
        return "unknown"
    return f"{total / 2**30:.1f} GiB" + ("" if free is None else f", {free / 2**30:.1f} GiB available")


def _lines(path: str) -> list[str]:
    """Return the lines of a system file, or none if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


_SYSTEM: dict[str, Callable[[], str]] = {
    "odise-trt": lambda: f"{__version__} in {Path(__file__).parent}",
    "python": lambda: f"{platform.python_version()} in {sys.prefix}",
    "operating system": lambda: f"{platform.platform()} ({host_os()})",
    "processor": _processor,
    "memory": _memory,
}
