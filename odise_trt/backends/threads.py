"""How many CPU threads a process should compute with."""

from __future__ import annotations

import math
import os
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")
_QUOTA_1, _PERIOD_1 = "cpu.cfs_quota_us", "cpu.cfs_period_us"


def available_threads() -> int:
    """Return the number of processors that this process may use.

    It counts the processors the process may run on. In a container that has only a share of them (`docker run
    --cpus 2`), it is that share, rounded up. More threads would use up the share early, and wait.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(processors, math.ceil(min(_quotas(), default=processors))))


def _quotas() -> list[float]:
    """Return the limits in processors that Linux control groups set for this process."""
    limits = [
        words
        for folder in _group_folders()
        for words in (_words(folder / "cpu.max"), [*_words(folder / _QUOTA_1), *_words(folder / _PERIOD_1)])
    ]
    # No limit is "max" in version 2, and -1 in version 1.
    numbers = [[int(word) for word in words if word.isdigit()] for words in limits]
    return [pair[0] / pair[1] for pair in numbers if len(pair) == 2 and all(pair)]


def _group_folders() -> list[Path]:
    """Return the folders of the control groups of this process, and of those around them."""
    places = [_GROUPS, _GROUPS / "cpu"]
    try:
        lines = _OWN_GROUP.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        root = _GROUPS if not controllers else _GROUPS / "cpu"
        if not controllers or "cpu" in controllers.split(","):
            own = Path(path.strip("/"))
            places += [root / part for part in (own, *own.parents)]
    return list(dict.fromkeys(places))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except (OSError, UnicodeDecodeError):
        return []
