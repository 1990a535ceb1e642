"""The memory that this process can use, and gives back."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

_LIMIT = Path("/sys/fs/cgroup/memory.max")
_FREE = re.compile(r"MemAvailable:\s*(\d+) kB")


def memory_bytes() -> int | None:
    """Return the memory of this machine, or of the container if it has less. None: not known."""
    whole = _pages("SC_PHYS_PAGES")
    limit = _text(_LIMIT).strip()
    return min(whole, int(limit)) if whole is not None and limit.isdecimal() else whole


def available_bytes() -> int | None:
    """Return how much of that no program uses now. None: not known."""
    found = _FREE.search(_text(Path("/proc/meminfo")))
    # What is free by sysconf leaves out caches that the system would give up.
    return int(found[1]) * 1024 if found else _pages("SC_AVPHYS_PAGES")


def give_back() -> None:
    """Give freed memory back to the system. Allocators keep it otherwise, in pieces between what is used."""
    gc.collect()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL(None).malloc_trim(0)


def _pages(name: str) -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf(name)
    except (AttributeError, ValueError, OSError):
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
