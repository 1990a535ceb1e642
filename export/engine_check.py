"""Engines that were just built are opened as the runtime opens them, where this machine can."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from odise_trt.backends import open_backend
from odise_trt.backends.cuda import open_cuda
from odise_trt.backends.engine_mismatch import has_host_code
from odise_trt.backends.registry import BackendEntry
from odise_trt.bundle.manifest import StageEntry
from odise_trt.errors import BackendError

from .reporter import Reporter


def opens_engines(entry: BackendEntry, precision: str, facts: Mapping[str, Any], reporter: Reporter) -> bool:
    """Whether this machine can open engines, to compare them with their declaration.

    Args:
        entry: the backend.
        precision: of the engines.
        facts: what the engines are tied to, as in a manifest.
        reporter: is told why it cannot.
    """
    try:
        if entry.needs_gpu:
            open_cuda().close()
    except BackendError as error:
        reporter.note(f"{entry.name}: networks are checked, engines cannot be opened here: {error.message}")
        return False
    backend = open_backend(entry.name, precision=precision)
    why = backend.mismatch(facts)
    backend.close()
    if why is not None:
        reporter.note(f"{entry.name}: networks are checked, engines cannot be opened here: {why}")
    return why is None


def open_engine(
    entry: BackendEntry, precision: str, folder: Path, stage: StageEntry, facts: Mapping[str, Any]
) -> None:
    """Open an engine as the runtime does, which compares it with its declaration. `facts`: as in a manifest.

    Raises:
        BackendError: the engine does not open, or differs from its declaration.
    """
    backend = open_backend(entry.name, precision=precision, host_code=has_host_code(facts))
    try:
        backend.open_stage(folder, stage).close()
    finally:
        backend.close()
