"""Backends run engines. Importing this package imports none of them.

`registry` lists the backends.
"""

from __future__ import annotations

from ..arguments import count
from ..errors import BackendError
from .base import Backend, Engine, Options, host_os
from .registry import BACKENDS, find_backend, resolve
from .threads import available_threads

__all__ = [
    "BACKENDS",
    "Backend",
    "Engine",
    "available_threads",
    "find_backend",
    "host_os",
    "open_backend",
]

# The system may kill a process that starts many thousands of threads.
_MOST_THREADS = 1024


def open_backend(
    name: str,
    *,
    precision: str = "fp32",
    device: str | None = None,
    threads: int | None = None,
    host_code: bool = False,
) -> Backend:
    """Load the named backend on the named device. There is no fallback to another backend or device.

    Args:
        name: one of `BACKENDS`.
        precision: of the engines it will open, "fp32", "fp16" or "bf16".
        device: "cpu", "cuda" or "cuda:1". None: the first GPU for backends that run on GPUs only, the CPU for
            others.
        threads: CPU threads for computing. None: as many as the process may use.
        host_code: engines may bring code for the processor, see `engine_mismatch.has_host_code`.

    Raises:
        ArgumentError: the number of threads is not a whole number from 1 to 1024.
        BackendError: there is no such backend, it is not installed, or its device is missing. The hint says
            what to install.
    """
    if threads is not None:
        threads = count("threads", threads, _MOST_THREADS)
    entry = find_backend(name)
    if entry.needs_gpu and device == "cpu":
        others = [one.name for one in BACKENDS.values() if not one.needs_gpu]
        raise BackendError(
            f"{name} runs on NVIDIA GPUs only, not on 'cpu'",
            f"leave the device out, or build a bundle for {' or '.join(others)}",
        )
    options = Options(precision, device or entry.device, threads or available_threads(), host_code)
    backend: Backend = resolve(entry.opens)(entry, options)
    return backend
