"""Builders turn the ONNX file of a stage into an engine.

`odise_trt.backends.registry` declares the builder of each backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from odise_trt.backends.registry import BACKENDS, BackendEntry, resolve
from odise_trt.stage_spec import StageSpec

from .compatibility import require_compatible

#: Called with (phase, steps done, total steps) while an engine builds. Phases nest and repeat.
Progress = Callable[[str, int, int], None]
#: The options for backends that can build for a GPU that is not in this machine.
AHEAD = " or ".join(f"--backend {entry.name}" for entry in BACKENDS.values() if entry.builds_ahead)


class Builder(Protocol):
    """Builds engines for one backend. `open_builder` makes one."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Entries of the backend in a manifest: "name", "version", and what the engines are tied to."""
        ...

    @property
    def strips_weights(self) -> bool:
        """Whether its engines have no weights, and take those of their graphs when they are opened."""
        ...

    def build(self, spec: StageSpec, onnx: Path, engine: Path, progress: Progress) -> None:
        """Build the engine of one stage.

        Args:
            spec: the declaration at the precision of the graph.
            onnx: the graph, with its external data beside it.
            engine: the path to write. The file appears when it is complete.
            progress: called during the build, from any thread.

        Raises:
            BackendError: the backend does not find the device it needs.
            ExportError: the graph does not build, or differs from what `spec` declares.
            OutputError: the engine cannot be written.
        """
        ...


def open_builder(
    entry: BackendEntry,
    compute_capabilities: Sequence[str],
    strip_weights: bool = False,
    compatible: Sequence[str] = (),
) -> Builder | None:
    """Return the builder of a backend. None: the ONNX file is the engine.

    Args:
        entry: the backend.
        compute_capabilities: GPUs to build for ahead of time, like "8.9". Empty: the backend decides.
        strip_weights: engines have no weights, they take those of their graphs when they are opened.
        compatible: what engines are compatible with besides this machine, see `builders.compatibility`.

    Raises:
        BackendError: the backend is not installed, does not find the GPU it needs, does not build for one of
            the compute capabilities, or has no such engines.
    """
    if entry.builds is None:
        return None
    require_compatible(entry, compatible, strip_weights)
    builder: Builder = resolve(entry.builds)(entry, compute_capabilities, strip_weights, compatible)
    return builder
