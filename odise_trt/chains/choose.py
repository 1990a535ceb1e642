"""Which chain a bundle gets: on a GPU one of engines alone, elsewhere one with numpy between them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..backends.device import on_device
from ..bundle import Bundle
from ..executor import Executor
from .base import Chain
from .device import DeviceChain
from .host import HostChain


def open_chain(
    bundle: Bundle, executor: Executor, constants: Mapping[str, np.ndarray], windows_per_run: int
) -> Chain:
    """Make the chain of a bundle. `describe` says which one it is, and what another one would need.

    Args:
        bundle: the bundle.
        executor: its engines. Whoever opened it closes it, and what the chain holds with it.
        constants: those of the bundle, see `Bundle.constants`.
        windows_per_run: the most windows per run of the captioner and the features.

    Raises:
        BackendError: an engine of the pipeline cannot be loaded.
        DeviceMemoryError: the GPU has too little memory for them.
    """
    device = on_device(executor.backend)
    if device is not None and bundle.manifest.pipeline:
        return DeviceChain(bundle, executor, windows_per_run, device)
    hint = None
    if device is not None:
        hint = (
            f"the bundle has no pipeline: its tensors go to the host between engines; {bundle.rebuild_hint()}"
        )
    elif executor.backend.describe().get("device", "cpu") != "cpu" and bundle.manifest.pipeline:
        hint = "tensors go to the host between engines: pip install cuda-python"
    return HostChain(bundle, executor, constants, windows_per_run, hint)
