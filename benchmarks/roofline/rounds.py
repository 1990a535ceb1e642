"""Times pieces of work in alternating rounds, so that other programs disturb all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds of one piece of work over all rounds.

    Attributes:
        best: the smallest wall time. Other programs can only make it longer.
        median: the median wall time.
        cpu: the smallest processor time, of all threads together.
    """

    best: float
    median: float
    cpu: float

    def busy(self, threads: int | None) -> float:
        """Return the best wall time, or the processor time of so many threads if that is given and less."""
        return self.best if threads is None else min(self.best, self.cpu / threads)


def timed_in_rounds(
    works: Mapping[str, Callable[[], object]], rounds: int, *, ahead: Callable[[int], object] = lambda _: None
) -> dict[str, Timing]:
    """Run every piece of work once per round, after one round that is not counted.

    Args:
        works: name -> work.
        rounds: counted rounds, at least 1.
        ahead: called with the number of rounds that are done, for a progress bar.
    """
    wall: dict[str, list[float]] = {name: [] for name in works}
    cpu: dict[str, list[float]] = {name: [] for name in works}
    for done in range(rounds + 1):
        for name, work in works.items():
            begin, spent = time.perf_counter(), time.process_time()
            work()
            if done:
                wall[name].append(time.perf_counter() - begin)
                cpu[name].append(time.process_time() - spent)
        ahead(done + 1)
    return {name: Timing(min(wall[name]), statistics.median(wall[name]), min(cpu[name])) for name in works}
