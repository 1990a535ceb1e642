"""The card: its name and versions, its measured ceilings, and whether it was throttled."""

from __future__ import annotations

import subprocess
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.timing import measure
from benchmarks.provenance import machine

_CLOCKS = "clocks.sm,clocks.mem,clocks_event_reasons.active,temperature.gpu,power.draw"


def card(device: torch.device) -> dict[str, Any]:
    """Describe the machine, and on a GPU the card and its driver."""
    if device.type != "cuda":
        return machine()
    properties = torch.cuda.get_device_properties(device)
    return machine() | {
        "host": machine()["device"],
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
    return float(measure(lambda clock: work(), device, repeats=20, seconds=3.0)["seconds"])
