"""Measures the seconds and the peak memory of a block of code."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class Measure:
    """Context manager that sets `seconds` and `peak_bytes` (resident memory of this process) at its end.

    On Linux the peak is that of the block alone. If the kernel does not let a process reset its high-water
    mark, it is the peak since the process started. Blocks must not be nested.
    """

    seconds: float = 0.0
    peak_bytes: int = 0

    def __enter__(self) -> Measure:
        with suppress(OSError):
            _CLEAR.write_text("5")  # proc(5): resets the peak resident set size
        self._start = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._start
        self.peak_bytes = _high_water()


def _high_water() -> int:
    try:
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
