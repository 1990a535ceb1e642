"""The card: its name and versions, its measured ceilings, and whether it was throttled."""

from __future__ import annotations

import platform
import subprocess
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

PACKAGES = (
    "torch",
    "diffusers",
    "open_clip_torch",
    "transformers",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "numpy",
)
_CLOCKS = "clocks.sm,clocks.mem,clocks_event_reasons.active,temperature.gpu,power.draw"


def machine(device: torch.device) -> dict[str, Any]:
    """Return the device, its driver and the versions of packages."""
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }
    if device.type != "cuda":
        return facts | {"device": platform.machine()}
    properties = torch.cuda.get_device_properties(device)
    return facts | {
        "device": properties.name,
        "memory_bytes": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "driver": smi("driver_version"),
    }


def smi(query: str = _CLOCKS) -> str | None:
    """Return the answer of nvidia-smi to a query. None if there is no nvidia-smi."""
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def ceilings(device: torch.device, side: int = 8192) -> dict[str, float]:
    """Measure the ceilings: matrix products in FLOP/s, and a copy in bytes/s (read and written).

    Args:
        side: side of the square matrices.
    """
    found = {}
    for name, dtype in {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}.items():
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        work = partial(torch.matmul, a, b)
        found[f"{name}_flops"] = 2 * side**3 / _seconds(work, device)
    source = torch.randn(side * side * 4, device=device)
    target = torch.empty_like(source)
    found["copy_bytes"] = 2 * source.nbytes / _seconds(lambda: target.copy_(source), device)
    return found


def _seconds(work: Any, device: torch.device) -> float:
    from .timing import measure

    return float(measure(lambda clock: work(), device, repeats=20, seconds=3.0)["seconds"])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
