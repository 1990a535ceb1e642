"""Which GPUs multiply numbers of 8 bits. It imports no torch: `export.finish` runs without."""

from __future__ import annotations

from collections.abc import Mapping

from odise_trt.backends.engine_mismatch import HARDWARE
from odise_trt.errors import ExportError

#: Precision -> the first compute capability whose tensor cores multiply it.
_LEAST = {"int8": (7, 5), "fp8": (8, 9)}


def require_gpu(precision: str, backend: Mapping[str, object]) -> None:
    """Raise ExportError unless the GPUs that engines are for multiply in a precision.

    Args:
        precision: of the build.
        backend: the manifest's entry, with "compute_capability": empty for "any GPU".
    """
    if precision == "fp8" and HARDWARE in (backend.get("compatible") or ()):  # type: ignore[operator]
        # NvInfer.h has it of BuilderFlag::kFP8, and GPUs of compute capability 8.0 have no such arithmetic.
        raise ExportError(
            "hardware-compatible engines run from compute capability 8.0 on, and fp8 begins with 8.9",
            "leave --hardware-compatible out, or give --precision int8 or fp16",
        )
    least = _LEAST.get(precision)
    numbers = backend.get("compute_capability")
    if least is None or not isinstance(numbers, list | tuple):
        return
    name = ".".join(map(str, least))
    if not numbers and precision == "fp8":
        raise ExportError(
            f"{precision} engines are for compute capability {name} and later, not for any GPU",
            "name the GPUs: --target sm89,sm120",
        )
    older = [number for number in numbers if tuple(int(part) for part in number.split(".")) < least]
    if older:
        raise ExportError(
            f"GPUs of compute capability {', '.join(older)} have no {precision}, which begins with {name}",
            "give --precision int8, or fp16" if precision == "fp8" else "give --precision fp16",
        )
