"""The profilers, one per backend. A further backend is one function and one line in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from odise_trt.backends.base import Options
from odise_trt.backends.registry import BACKENDS, find_backend, resolve
from odise_trt.bundle import Bundle
from odise_trt.errors import BackendError

from .viewer_form import StageProfile


class LayerProfiler(Protocol):
    """Runs a stage and times its layers."""

    def __call__(
        self, bundle: Bundle, stage: str, inputs: Mapping[str, np.ndarray], options: Options, runs: int
    ) -> StageProfile:
        """Profile one stage. It is opened for this, and closed at the end.

        Args:
            bundle: a bundle of the profiler's backend.
            stage: the stage.
            inputs: name -> array, as the stage declares them.
            options: how to open the backend.
            runs: measured runs, after one that is not counted.

        Raises:
            BackendError: the backend does not open here, or cannot say what its layers are.
        """
        ...


def profiler_of(backend: str) -> LayerProfiler:
    """Return the profiler of a backend.

    Raises:
        BackendError: its engines cannot be profiled.
    """
    place = find_backend(backend).profiles
    if place is None:
        can = [name for name, entry in BACKENDS.items() if entry.profiles]
        raise BackendError(
            f"layers of the backend {backend} cannot be profiled", f"these can: {', '.join(can)}"
        )
    found: LayerProfiler = resolve(place)
    return found
