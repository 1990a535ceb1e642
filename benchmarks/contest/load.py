"""What other programs did on the processors during a measurement: /proc/stat without our own processes.

Wall time on busy processors says more about the others than about us. So every run says how many processors
were busy for others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

#: The columns of /proc/stat's first line that are work: user, nice, system, irq, softirq, steal.
_BUSY = (1, 2, 3, 6, 7, 8)
#: A run whose foreign load is above this share of all processors is marked.
MOST_FOREIGN = 0.1


class ForeignLoad:
    """Measures between `start` and `stop` how many processors worked for others.

    The kernel counts in hundredths of a second: a run of less than half a second is known to a few percent.

    Args:
        processes: numbers of our own processes, besides this one.
    """

    def __init__(self, processes: Iterable[int] = ()) -> None:
        self._processes = tuple(processes)
        self.start()

    def start(self) -> None:
        """Begin anew."""
        self._wall, self._busy, self._own = time.perf_counter(), busy_seconds(), self._own_seconds()

    def stop(self) -> float | None:
        """Return the processors that were busy for others since `start`. None: there is no /proc/stat."""
        busy = busy_seconds()
        if busy is None or self._busy is None:
            return None
        wall = max(time.perf_counter() - self._wall, 1e-3)
        foreign = (busy - self._busy) - (self._own_seconds() - self._own)
        return max(0.0, foreign / wall)

    def _own_seconds(self) -> float:
        return time.process_time() + sum(map(process_seconds, self._processes))


def busy_seconds(stat: Path = Path("/proc/stat")) -> float | None:
    """Return the seconds that all processors together have worked since the start of the machine."""
    with suppress(OSError, IndexError, ValueError):
        cells = stat.read_text().splitlines()[0].split()
        return sum(int(cells[column]) for column in _BUSY) / os.sysconf("SC_CLK_TCK")
    return None


def process_seconds(number: int) -> float:
    """Return the processor time of a process and of its ended children, in seconds. 0: it is gone."""
    with suppress(OSError, IndexError, ValueError):
        # The name of the program, in brackets, may have blanks.
        cells = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        return sum(int(cell) for cell in cells[11:15]) / os.sysconf("SC_CLK_TCK")
    return 0.0


def is_busy(foreign: float | None) -> bool:
    """Whether so many processors for others spoil a measurement on this machine."""
    return foreign is not None and foreign > MOST_FOREIGN * (os.cpu_count() or 1)
