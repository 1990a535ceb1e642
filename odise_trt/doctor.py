"""What this machine has: versions, devices and backends, and what the missing ones need."""

from __future__ import annotations

import csv
import ctypes.util
import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import __version__
from .backends import BACKENDS, INSTALL, available_threads, host_os
from .backends.base import ONNXRUNTIME_ON_GPUS, REPAIR_ONNXRUNTIME

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
_GPU_FIELDS = ("name", "compute_cap", "memory.total", "driver_version")


@dataclass(frozen=True)
class Finding:
    """One thing looked for.

    Attributes:
        group: "system", "devices", "backends", "runtime" or "toolkit".
        name: of the thing.
        found: whether it is there and works.
        detail: version, size, providers; or what is wrong.
        needs: what to do to have it, where it is missing.
    """

    group: str
    name: str
    found: bool
    detail: str
    needs: str = ""

    def to_json(self) -> dict[str, Any]:
        """As a dictionary of the same names."""
        return asdict(self)


def examine() -> list[Finding]:
    """Look at everything, in the order people read it.

    Imports the backends that are installed, but neither torch nor anything else of the toolkit.
    """
    gpus = _gpus()
    has_gpu = any(gpu.found for gpu in gpus)
    return [
        *_system(),
        *gpus,
        _cuda_python(),
        *(_backend(name, has_gpu) for name in BACKENDS),
        *(_package("runtime", name, "pip install odise-trt") for name in _RUNTIME),
        *(_package("toolkit", name, 'in a checkout: pip install -e ".[export]"') for name in _TOOLKIT),
    ]


def usable_backends(findings: list[Finding]) -> list[str]:
    """Names of the backends that can run engines here."""
    return [finding.name for finding in findings if finding.group == "backends" and finding.found]


def _system() -> list[Finding]:
    cores = f"{available_threads()} of {os.cpu_count() or 1} processors usable"
    rows = {
        "odise-trt": f"{__version__} in {Path(__file__).parent}",
        "python": f"{platform.python_version()} in {sys.prefix}",
        "operating system": f"{platform.platform()} ({host_os()})",
        "processor": ", ".join(part for part in (_processor(), cores) if part),
        "memory": _memory(),
    }
    return [Finding("system", name, True, detail) for name, detail in rows.items()]


def _gpus() -> list[Finding]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        # Containers may have the driver's library without its tools.
        library = ctypes.util.find_library("cuda")
        if library is None:
            return [Finding("devices", "NVIDIA GPU", False, "no driver (nvidia-smi, libcuda)", _NO_GPU)]
        detail = f"{library} is there, nvidia-smi is not: the GPU cannot be named"
        return [Finding("devices", "NVIDIA GPU", True, detail)]
    command = [tool, f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [Finding("devices", "NVIDIA GPU", False, f"nvidia-smi does not run: {error}", _NO_GPU)]
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()
        detail = f"nvidia-smi: {said[0] if said else f'exit status {done.returncode}'}"
        return [Finding("devices", "NVIDIA GPU", False, detail, _NO_GPU)]
    return [_gpu(number, row) for number, row in enumerate(csv.reader(done.stdout.splitlines()))]


def _gpu(number: int, row: list[str]) -> Finding:
    name, capability, memory, driver = (cell.strip() for cell in row)
    detail = f"{name}, compute capability {capability}, {memory}, driver {driver}"
    return Finding("devices", f"cuda:{number}", True, detail)


def _cuda_python() -> Finding:
    found = [name for name in ("cuda-python", "cuda-bindings", "pycuda") if _version(name)]
    if found:
        return Finding("devices", "CUDA for Python", True, ", ".join(f"{n} {_version(n)}" for n in found))
    needs = "pip install cuda-python (or pycuda); TensorRT needs it, ONNX Runtime does not"
    return Finding("devices", "CUDA for Python", False, "neither cuda-python nor pycuda", needs)


def _backend(name: str, has_gpu: bool) -> Finding:
    try:
        module = importlib.import_module(name)
    except Exception as error:
        # Not only ImportError: a TensorRT whose libraries are missing fails in several ways.
        return Finding("backends", name, False, f"not installed ({_first_line(error)})", INSTALL[name])
    version = str(getattr(module, "__version__", "of unknown version"))
    if name == "onnxruntime":
        if not hasattr(module, "InferenceSession"):
            return Finding("backends", name, False, "damaged: it has no InferenceSession", REPAIR_ONNXRUNTIME)
        return _onnxruntime(version, module.get_available_providers)
    if not has_gpu:
        detail = f"{version}, but no GPU: engines can be built ahead of time, not run"
        if name == "tensorrt":
            detail = f"{version}, but no GPU"
        return Finding("backends", name, False, detail, _NO_GPU)
    if not _cuda_python().found:
        return Finding("backends", name, False, f"{version}, without CUDA for Python", _cuda_python().needs)
    return Finding("backends", name, True, version)


def _onnxruntime(version: str, providers: Callable[[], list[str]]) -> Finding:
    names = [name.removesuffix("ExecutionProvider") for name in providers()]
    detail = f"{version}, providers: {', '.join(names)}"
    needs = "" if "CUDA" in names else f"for --device cuda: {ONNXRUNTIME_ON_GPUS}"
    return Finding("backends", "onnxruntime", True, detail, needs)


def _package(group: str, name: str, needs: str) -> Finding:
    version = _version(name)
    if version is None:
        return Finding(group, name, False, "not installed", needs)
    return Finding(group, name, True, version)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _memory() -> str:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return "unknown"
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    except OSError:
        pass  # what sysconf says, which leaves out what the system would give up
    return f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB available"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
