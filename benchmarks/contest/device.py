"""Memory and energy of NVIDIA GPUs, by NVML. Elsewhere they are "not measured", with the reason."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from benchmarks.contest.statistics import not_measured

_PACKAGE = "nvidia-ml-py is not installed (pip install nvidia-ml-py)"


class DeviceMeter:
    """What a process holds on the GPUs, and the energy that they take together.

    Args:
        load: imports `pynvml`.
    """

    def __init__(self, load: Callable[[], Any] | None = None) -> None:
        self._nvml, self.missing = _opened(load or _import)

    def memory(self, process: int) -> int | dict[str, str]:
        """Return the bytes that a process holds on all GPUs."""
        if self._nvml is None:
            return not_measured(self.missing)
        try:
            running = [
                one
                for handle in self._handles()
                for one in self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
                if one.pid == process
            ]
        except self._nvml.NVMLError as error:
            return not_measured(f"NVML: {error}")
        used = [one.usedGpuMemory for one in running]
        return not_measured("NVML does not see the process") if None in used else sum(used)

    def joules(self) -> float | None:
        """Return the energy that the GPUs have taken since their driver was loaded. None: not known."""
        if self._nvml is None:
            return None
        try:
            return sum(self._nvml.nvmlDeviceGetTotalEnergyConsumption(one) for one in self._handles()) / 1000
        except self._nvml.NVMLError as error:
            self.missing = f"NVML: {error}"
            return None

    def clocks(self) -> list[dict[str, int]]:
        """Return the clocks of every GPU in MHz: of its processors and of its memory."""
        if self._nvml is None:
            return []
        found = []
        with suppress(self._nvml.NVMLError):
            for handle in self._handles():
                sm, memory = (
                    self._nvml.nvmlDeviceGetClockInfo(handle, kind)
                    for kind in (self._nvml.NVML_CLOCK_SM, self._nvml.NVML_CLOCK_MEM)
                )
                found.append({"sm_mhz": sm, "memory_mhz": memory})
        return found

    def _handles(self) -> list[Any]:
        return [self._nvml.nvmlDeviceGetHandleByIndex(i) for i in range(self._nvml.nvmlDeviceGetCount())]


def _import() -> Any:
    import pynvml

    return pynvml


def _opened(load: Callable[[], Any]) -> tuple[Any, str]:
    from odise_trt.nvidia_smi import find

    try:
        nvml = load()
    except ImportError:
        return None, _PACKAGE if find() else "there is no NVIDIA GPU"
    try:
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        return None, f"NVML: {error}"
    return (nvml, "") if count else (None, "there is no NVIDIA GPU")
