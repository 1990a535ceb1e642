"""Where numbers come from: the machine, the versions of packages, and the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

from odise_trt.backends.registry import BACKENDS
from odise_trt.package_versions import package_version

PACKAGES = (
    *("torch", "diffusers", "open_clip_torch", "transformers", "onnx", "numpy", "pillow"),
    *(entry.package for entry in BACKENDS.values()),
)


def machine() -> dict[str, Any]:
    """Describe the machine of the measurement."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    return {
        "device": f"{model}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
    }


def state() -> dict[str, Any]:
    """Describe what changes on a machine: clocks of the processors and GPUs in MHz, governor, load average.

    None: the system does not say, as in most virtual machines.
    """
    from benchmarks.contest.device import DeviceMeter

    governor, info = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"), Path("/proc/cpuinfo")
    clocks = []
    if info.exists():
        lines = info.read_text().splitlines()
        clocks = [float(line.split(":", 1)[1]) for line in lines if line.startswith("cpu MHz")]
    return {
        "cpu_mhz": clocks or None,
        "governor": governor.read_text().strip() if governor.exists() else None,
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "gpu_clocks": DeviceMeter().clocks(),
    }


def _version(package: str) -> str | None:
    try:
        return package_version(package)
    except PackageNotFoundError:
        return None


def commit() -> str:
    """Return the measured commit, with "-dirty" if the tree differs from it."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        described = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent
        )
    except OSError:
        return "unknown"
    return described.stdout.strip() or "unknown"
