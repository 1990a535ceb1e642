"""Backends: ONNX Runtime, TensorRT, TensorRT for RTX. Importing this imports none of them."""

from __future__ import annotations

import os

from ..arguments import count
from ..errors import BackendError
from .base import INSTALL, Backend, Engine, host_os

__all__ = ["BACKENDS", "INSTALL", "Backend", "Engine", "available_threads", "host_os", "open_backend"]

#: Names of all backends, as `--backend` and the manifest have them.
BACKENDS = ("onnxruntime", "tensorrt", "tensorrt_rtx")
# Systems end a process that starts many thousands.
_MOST_THREADS = 1024


def open_backend(
    name: str, *, precision: str = "fp32", device: str | None = None, threads: int | None = None
) -> Backend:
    """Load a backend. What is asked for is what runs; nothing else is ever put in its place.

    Args:
        name: one of `BACKENDS`.
        precision: of the engines it will open, "fp32" or "fp16".
        device: "cpu", "cuda" or "cuda:1". None: the CPU for ONNX Runtime, the first GPU for TensorRT.
        threads: CPU threads for computing; None: as many as the process may use.

    Raises:
        ArgumentError: no such number of threads.
        BackendError: no such backend, it is not installed, or its device is missing; the hint says what to
            install.
    """
    if threads is not None:
        threads = count("threads", threads, _MOST_THREADS)
    if name == "onnxruntime":
        from .onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(precision, device or "cpu", threads or available_threads())
    if name in ("tensorrt", "tensorrt_rtx"):
        from .tensorrt import open_tensorrt

        return open_tensorrt(name, device or "cuda")
    raise BackendError(f"there is no backend {name!r}", f"backends: {', '.join(BACKENDS)}")


def available_threads() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
