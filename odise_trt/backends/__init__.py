"""Backends: what runs engines. Importing this imports none of them.

`registry` says which there are.
"""

from __future__ import annotations

import os

from ..arguments import count
from .base import Backend, Engine, Options, host_os
from .registry import BACKENDS, find_backend, resolve

__all__ = [
    "BACKENDS",
    "Backend",
    "Engine",
    "available_threads",
    "find_backend",
    "host_os",
    "open_backend",
]

# Systems end a process that starts many thousands.
_MOST_THREADS = 1024


def open_backend(
    name: str, *, precision: str = "fp32", device: str | None = None, threads: int | None = None
) -> Backend:
    """Load a backend. It is the one that was named, on the device that was named; nothing falls back.

    Args:
        name: one of `BACKENDS`.
        precision: of the engines it will open, "fp32" or "fp16".
        device: "cpu", "cuda" or "cuda:1". None: the first GPU for backends that run on GPUs only, the CPU for
            others.
        threads: CPU threads for computing; None: as many as the process may use.

    Raises:
        ArgumentError: no such number of threads.
        BackendError: no such backend, it is not installed, or its device is missing; the hint says what to
            install.
    """
    if threads is not None:
        threads = count("threads", threads, _MOST_THREADS)
    entry = find_backend(name)
    options = Options(precision, device or entry.device, threads or available_threads())
    backend: Backend = resolve(entry.opens)(entry, options)
    return backend


def available_threads() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
