"""Whether an engine that was built for one machine runs on another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .base import host_os

if TYPE_CHECKING:
    from .cuda import Device

#: What engines may be compatible with besides the machine that built them: later versions of TensorRT, ...
VERSION = "version"
#: ... and all GPUs from this compute capability on.
HARDWARE = "hardware"
LEAST_CAPABILITY = (8, 0)


def engine_mismatch(built: Mapping[str, Any], version: str, device: Device) -> str | None:
    """Return why engines built as `built` cannot run in TensorRT `version` on `device`, or None.

    Version-compatible engines run in later versions. NVIDIA promises that across major versions, too, for
    what their APIs have in common. Here the major version has to be the same: within it no API goes.
    https://docs.nvidia.com/deeplearning/tensorrt/11.1.0/inference-library/engine-compatibility.html
    Hardware-compatible engines run on Ampere and later (NvInfer.h, HardwareCompatibilityLevel::kAMPERE_PLUS).
    """
    compatible = built.get("compatible") or ()
    if built.get("version") != version and not (VERSION in compatible and _is_later(version, built)):
        return f"built by {built.get('name')} {built.get('version')}, this is {version}"
    architectures = built.get("compute_capability") or ()
    runs = HARDWARE in compatible and version_numbers(device.compute_capability) >= LEAST_CAPABILITY
    if architectures and device.compute_capability not in architectures and not runs:
        wanted = ", ".join(architectures)
        return f"built for compute capability {wanted}, {device.name} has {device.compute_capability}"
    driver = built.get("driver")
    # Newer drivers run older engines. Older drivers may lack functions that the engine calls.
    if driver and version_numbers(device.driver) < version_numbers(driver):
        return f"built with a driver for CUDA {driver}, this one is for CUDA {device.driver}"
    system = built.get("os")
    if system and system != host_os():
        return f"built for {system}, this is {host_os()}"
    return None


def has_host_code(built: Mapping[str, Any]) -> bool:
    """Whether engines bring code for the processor: the lean runtime of the version that built them."""
    return VERSION in (built.get("compatible") or ())


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version: "13.2" -> (13, 2)."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _is_later(version: str, built: Mapping[str, Any]) -> bool:
    then, now = version_numbers(str(built.get("version"))), version_numbers(version)
    return bool(then) and now[:1] == then[:1] and now >= then
