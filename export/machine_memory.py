"""The memory that this process can use."""

from __future__ import annotations

import os
import re
from pathlib import Path

_LIMIT = Path("/sys/fs/cgroup/memory.max")
_FREE = re.compile(r"MemAvailable:\s*(\d+) kB")


def memory_bytes() -> int | None:
    """Return the memory of this machine, or of the container if it has less. None: not known."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    limit = _text(_LIMIT).strip()
    return min(whole, int(limit)) if limit.isdecimal() else whole


def available_bytes() -> int | None:
    """Return how much of that no program uses now. None: not known."""
    found = _FREE.search(_text(Path("/proc/meminfo")))
    return int(found[1]) * 1024 if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
