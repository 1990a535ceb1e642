"""The memory of a process over time, from its start to the end of its first picture."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

#: Seconds between two looks at a process. A look takes some ten microseconds.
_EVERY = 0.05
#: Points of a curve in a record.
POINTS = 200


class MemoryCurve:
    """Watches the resident memory of a process from a thread of its own.

    Files that are mapped count as far as their pages are in memory, as they do for the system's own peak.
    """

    def __init__(self, number: int) -> None:
        """Begin to watch. `number`: that of the process."""
        self._status = Path(f"/proc/{number}/statm")
        self._begin = time.perf_counter()
        #: Seconds since the begin, and bytes.
        self.samples: list[tuple[float, int]] = []
        self._marks: dict[str, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def mark(self, name: str) -> None:
        """Note the time of an event: "opened", "segmented"."""
        self._marks[name] = time.perf_counter() - self._begin

    def stop(self) -> dict[str, Any] | None:
        """End watching. Stopping twice is allowed.

        Returns:
            "seconds" and "bytes", the largest of each of at most `POINTS` parts of the time, and "marks",
            name -> seconds. None: the system does not say what a process has.
        """
        self._stopped.set()
        self._thread.join()
        if not self.samples:
            return None
        kept = thinned(self.samples, POINTS)
        return {
            "seconds": [round(moment, 2) for moment, _ in kept],
            "bytes": [size for _, size in kept],
            "marks": {name: round(moment, 2) for name, moment in self._marks.items()},
        }

    def _watch(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
        while True:
            # The process may have ended, or the system may have no such file.
            with suppress(OSError, ValueError, IndexError):
                pages = int(self._status.read_text().split()[1])
                self.samples.append((time.perf_counter() - self._begin, pages * page))
            if self._stopped.wait(_EVERY):
                return


def thinned(samples: list[tuple[float, int]], most: int) -> list[tuple[float, int]]:
    """Return the largest sample of each of at most `most` parts of the time, and the last one."""
    if len(samples) <= most:
        return samples
    size = -(-len(samples) // (most - 1))
    parts = [samples[start : start + size] for start in range(0, len(samples), size)]
    kept = [max(part, key=lambda sample: sample[1]) for part in parts]
    return kept if kept[-1] is samples[-1] else [*kept, samples[-1]]


def resident() -> int:
    """Return the resident memory of this process in bytes, 0 where /proc does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
