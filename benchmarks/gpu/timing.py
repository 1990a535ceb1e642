"""Measures work on a device: median seconds in total and per stage, and memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


class StageClock:
    """Measures seconds per stage with the device's own events. The host never waits between stages.

    It is a callable clock, see `reference.model.clock`.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._marks: list[tuple[str, Any, Any]] = []

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a `with` block."""
        begin = self._mark()
        yield
        self._marks.append((stage, begin, self._mark()))

    def seconds(self) -> dict[str, float]:
        """Return the seconds per stage since the last call."""
        if self._on_gpu:
            torch.cuda.synchronize()
        found: dict[str, float] = {}
        for stage, begin, end in self._marks:
            spent = begin.elapsed_time(end) / 1000 if self._on_gpu else end - begin
            found[stage] = found.get(stage, 0.0) + spent
        self._marks.clear()
        return found

    def _mark(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def measure(
    work: Callable[[StageClock], object],
    device: torch.device,
    *,
    repeats: int,
    seconds: float,
    warmup: int = 3,
) -> dict[str, Any]:
    """Run `work` many times and measure it.

    Args:
        work: takes the clock for its stages. It must end with its result on the host.
        repeats: largest number of measured runs.
        seconds: limit for all runs together. At least three runs are measured.
        warmup: runs before the measured ones.

    Returns:
        "seconds" (median of whole runs), "best_seconds", "p10", "p90", "runs", "stages" (median per stage),
        and on a GPU "peak_bytes" allocated by PyTorch.
    """
    clock = StageClock(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    whole: list[float] = []
    stages: list[dict[str, float]] = []
    for run in range(warmup + repeats):
        if device.type == "cuda":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        work(clock)
        if device.type == "cuda":
            torch.cuda.synchronize()
        spent, per_stage = time.perf_counter() - begin, clock.seconds()
        if run >= warmup:
            whole.append(spent)
            stages.append(per_stage)
        if len(whole) >= 3 and time.perf_counter() - started > seconds:
            break
    ordered = sorted(whole)
    names = dict.fromkeys(name for one in stages for name in one)
    found: dict[str, Any] = {
        "seconds": statistics.median(whole),
        "best_seconds": ordered[0],
        "p10": ordered[len(ordered) // 10],
        "p90": ordered[-1 - len(ordered) // 10],
        "runs": len(whole),
        "stages": {name: statistics.median(one.get(name, 0.0) for one in stages) for name in names},
    }
    if device.type == "cuda":
        found["peak_bytes"] = torch.cuda.max_memory_allocated()
    return found
