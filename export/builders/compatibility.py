"""Engines of TensorRT for later versions and for other GPUs than that of the machine, and their price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from odise_trt.backends.engine_mismatch import HARDWARE, LEAST_CAPABILITY, VERSION, version_numbers
from odise_trt.backends.registry import BackendEntry
from odise_trt.errors import BackendError

if TYPE_CHECKING:
    import tensorrt as trt

_PAGE = "https://docs.nvidia.com/deeplearning/tensorrt/11.1.0/inference-library/engine-compatibility.html"
#: What NVIDIA says of the price, there and in NvInfer.h of `HardwareCompatibilityLevel::kAMPERE_PLUS`.
#: There are no numbers, and we have measured none.
_PRICE = {
    VERSION: "version-compatible engines are larger, each has a copy of TensorRT's lean runtime, and they can"
    " be slower",
    HARDWARE: "hardware-compatible engines can be slower: kernels get at most 48 KiB of shared memory, there"
    " are fewer of them, and some fusions do not happen",
}


def chosen(version_compatible: bool, hardware_compatible: bool) -> tuple[str, ...]:
    """Return what engines are compatible with, as the manifest of a bundle has it."""
    return (VERSION,) * version_compatible + (HARDWARE,) * hardware_compatible


def options_of(compatible: Sequence[str]) -> str:
    """Return the options of a build in words."""
    return " and ".join(f"--{one}-compatible" for one in compatible)


def price_of(backend: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the compatibility of engines costs, a line each. `backend`: its entries in the manifest."""
    return tuple(f"{_PRICE[one]} ({_PAGE})" for one in backend.get("compatible", ()))


def require_compatible(entry: BackendEntry, compatible: Sequence[str], strip_weights: bool) -> None:
    """Raise BackendError unless the engines of a backend can be made compatible."""
    if not compatible:
        return
    if entry.builds_ahead:
        raise BackendError(
            f"{entry.name} has no {options_of(compatible)}: its engines are for one version, and as they"
            " are for several GPUs",
            f"leave {'it' if len(compatible) == 1 else 'them'} out; --target names the GPUs to build for",
        )
    if VERSION in compatible and strip_weights:
        # The article of NVIDIA on version compatibility says that the lean runtime does not refit engines:
        # https://developer.nvidia.com/ja-jp/blog/tensorrt-hardware-version-compatibility/
        raise BackendError(
            "version-compatible engines run in TensorRT's lean runtime, which gives them no weights",
            "leave --strip-weights or --version-compatible out",
        )


def require_ampere(name: str, gpu: str, capability: str, compatible: Sequence[str]) -> None:
    """Raise BackendError if a GPU is too old to build hardware-compatible engines (NvInfer.h)."""
    if HARDWARE in compatible and version_numbers(capability) < LEAST_CAPABILITY:
        raise BackendError(
            f"{name} builds hardware-compatible engines on GPUs of compute capability 8.0 and later,"
            f" {gpu} has {capability}",
            "leave --hardware-compatible out, or build on a later GPU",
        )


def make_compatible(flavour: Any, config: trt.IBuilderConfig, compatible: Sequence[str]) -> None:
    """Make an engine that later versions of TensorRT open, or that other GPUs run."""
    if VERSION in compatible:
        # The lean runtime is in the engine. Without it (EXCLUDE_LEAN_RUNTIME), users would have to find that
        # of the version that built it.
        config.set_flag(flavour.BuilderFlag.VERSION_COMPATIBLE)
    if HARDWARE in compatible:
        # SAME_COMPUTE_CAPABILITY is for GPUs that usual engines are not refused on.
        config.hardware_compatibility_level = flavour.HardwareCompatibilityLevel.AMPERE_PLUS
