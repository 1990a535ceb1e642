"""What turns the ONNX file of a stage into an engine.

Which backend has which builder is declared in `odise_trt.backends.registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from odise_trt.backends.registry import BACKENDS, BackendEntry, resolve
from odise_trt.stage_spec import StageSpec

#: Told (phase, steps done, steps in all) while an engine builds; phases nest and repeat.
Progress = Callable[[str, int, int], None]
#: The options that name backends which build for GPUs that are not there.
AHEAD = " or ".join(f"--backend {entry.name}" for entry in BACKENDS.values() if entry.builds_ahead)


class Builder(Protocol):
    """Builds engines for one backend. Made by `open_builder`."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a manifest says of the backend: "name", "version", and what the engines are tied to."""
        ...

    def build(self, spec: StageSpec, onnx: Path, engine: Path, progress: Progress) -> None:
        """Build the engine of one stage.

        Args:
            spec: the declaration at the precision of the graph.
            onnx: the graph, with its external data beside it.
            engine: where to; it appears when it is complete.
            progress: called while building, from any thread.

        Raises:
            BackendError: the backend finds no device that it needs.
            ExportError: the graph does not build, or is not what `spec` declares.
            OutputError: the engine cannot be written.
        """
        ...


def open_builder(entry: BackendEntry, compute_capabilities: Sequence[str]) -> Builder | None:
    """The builder of a backend; None: the ONNX file is the engine.

    Args:
        entry: the backend.
        compute_capabilities: GPUs to build for ahead of time, like "8.9"; empty: the backend decides.

    Raises:
        BackendError: the backend is not installed, finds no GPU it needs, or does not build for one of these.
    """
    if entry.builds is None:
        return None
    builder: Builder = resolve(entry.builds)(entry, compute_capabilities)
    return builder
