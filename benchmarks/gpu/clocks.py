"""Watches the clocks of the GPU during a measurement: what was measured while they throttle is refused."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any, Self

#: Bits of NVML's reasons for lower clocks that spoil a measurement. Idle and user-set clocks do not.
THROTTLES = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
_QUERY = "clocks_event_reasons.active,clocks.sm,clocks.mem,temperature.gpu,power.draw"
_NAMES = ("sm_mhz", "memory_mhz", "celsius", "watts")
_EVERY = 0.25
#: Drivers report a cap for moments when a kernel starts. A share of the samples below this is no throttling.
_TOLERATED = 0.1


class Watch:
    """Samples one GPU by nvidia-smi until it is closed. Without nvidia-smi it sees nothing.

    Args:
        index: number of the GPU. None: there is none to watch.
        command: the tool, for tests.
    """

    def __init__(self, index: int | None, command: str = "nvidia-smi") -> None:
        self._samples: deque[tuple[float, int, tuple[str, ...]]] = deque(maxlen=10_000)
        self._process: subprocess.Popen[str] | None = None
        if index is None:
            return
        every = ["-i", str(index), f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
        with suppress(OSError):
            self._process = subprocess.Popen(
                [command, *every, f"--loop-ms={_EVERY * 1000:.0f}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop sampling."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def throttled(self, since: float) -> str:
        """Return why the clocks were lowered since a `time.monotonic`, in words. "" if they were not."""
        seen = [mask for moment, mask, _ in list(self._samples) if moment >= since]
        found = []
        for bit, name in THROTTLES.items():
            share = sum(bool(mask & bit) for mask in seen) / max(len(seen), 1)
            if share > _TOLERATED:
                found.append(f"{name} in {share:.0%} of {len(seen)} samples")
        return ", ".join(found)

    def last(self) -> dict[str, Any]:
        """Return clocks in MHz, temperature and power of the last sample. {} if there is none."""
        if not self._samples:
            return {}
        return dict(zip(_NAMES, self._samples[-1][2], strict=False))

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            sample = parsed(line)
            if sample is not None:
                self._samples.append((time.monotonic(), *sample))
        process.stdout.close()


def parsed(line: str) -> tuple[int, tuple[str, ...]] | None:
    """Read a line of nvidia-smi: the reasons as bits, and the other cells. None: it is another line."""
    cells = [cell.strip() for cell in line.split(",")]
    try:
        return int(cells[0], 16), tuple(cells[1:])
    except ValueError:
        return None
