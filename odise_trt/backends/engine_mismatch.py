"""Whether an engine that was built for one machine runs on another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import host_os
from .cuda import Device


def engine_mismatch(built: Mapping[str, Any], version: str, device: Device) -> str | None:
    """Return why engines built as `built` cannot run in TensorRT `version` on `device`, or None."""
    if built.get("version") != version:
        return f"built by {built.get('name')} {built.get('version')}, this is {version}"
    architectures = built.get("compute_capability") or ()
    if architectures and device.compute_capability not in architectures:
        wanted = ", ".join(architectures)
        return f"built for compute capability {wanted}, {device.name} has {device.compute_capability}"
    driver = built.get("driver")
    # Newer drivers run older engines. Older drivers may lack functions that the engine calls.
    if driver and _numbers(device.driver) < _numbers(driver):
        return f"built with a driver for CUDA {driver}, this one is for CUDA {device.driver}"
    system = built.get("os")
    if system and system != host_os():
        return f"built for {system}, this is {host_os()}"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version: "13.2" -> (13, 2)."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())
