"""Engines that were just built are opened as the runtime opens them, where this machine can."""

from __future__ import annotations

from pathlib import Path

from odise_trt.backends import open_backend
from odise_trt.backends.cuda import open_cuda
from odise_trt.bundle.manifest import StageEntry
from odise_trt.errors import BackendError

from .plan import Target
from .reporter import Reporter


def opens_engines(target: Target, reporter: Reporter) -> bool:
    """Whether this machine can open engines of the target, to compare them with their declaration."""
    if target.builder is None:
        return False
    try:
        if target.entry.needs_gpu:
            open_cuda().close()
    except BackendError as error:
        reporter.note(f"{target.name}: networks are checked, engines cannot be opened here: {error.message}")
        return False
    backend = open_backend(target.name, precision=target.precision)
    why = backend.mismatch(target.backend)
    backend.close()
    if why is not None:
        reporter.note(f"{target.name}: networks are checked, engines cannot be opened here: {why}")
    return why is None


def open_engine(target: Target, folder: Path, entry: StageEntry) -> None:
    """Open an engine as the runtime does, which compares it with its declaration.

    Raises:
        BackendError: the engine does not open, or differs from its declaration.
    """
    backend = open_backend(target.name, precision=target.precision)
    try:
        backend.open_stage(folder, entry).close()
    finally:
        backend.close()
