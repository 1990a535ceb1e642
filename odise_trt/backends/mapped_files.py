"""Gives the memory of mapped files back to the system.

Engines of large models map their weights from files instead of reading them. What they have read stays in the
memory of the process, although only one stage runs at a time. The system would take it back when it is short
of memory. A process that gives it back itself leaves room for others before that.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_MAPS = Path("/proc/self/smaps")


def release_pages(files: Iterable[Path]) -> int:
    """Give back the memory of all mappings of files, whoever made them in this process.

    The numbers do not change: when they are read again, the system takes them from its cache of the file, or
    from the disk. A mapping that was written to keeps its memory. Only Linux has this; elsewhere nothing
    happens.

    Args:
        files: the files.

    Returns:
        The bytes that were given back.
    """
    if not sys.platform.startswith("linux"):
        return 0
    wanted = {os.path.realpath(file) for file in files}
    advise = ctypes.CDLL(None, use_errno=True).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    released = 0
    for mapping in _mappings(wanted):
        # Memory of its own, here or swapped out, is what was changed: it would be lost.
        if mapping.kilobytes.get("Anonymous") == mapping.kilobytes.get("Swap") == 0:
            advise(mapping.start, mapping.end - mapping.start, mmap.MADV_DONTNEED)
            released += mapping.kilobytes.get("Rss", 0) * 1024
    return released


@dataclass
class _Mapping:
    """An address range of this process, and how much memory of which kind it takes."""

    start: int
    end: int
    kilobytes: dict[str, int] = field(default_factory=dict)


def _mappings(files: set[str]) -> list[_Mapping]:
    """Return the mappings of files, as proc(5) describes them."""
    found: list[_Mapping] = []
    wanted = False
    for line in _MAPS.read_text(errors="surrogateescape").splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            # address range, permissions, offset, device, inode, path
            parts = line.split(maxsplit=5)
            wanted = len(parts) == 6 and parts[5] in files
            if wanted:
                start, end = (int(address, 16) for address in name.split("-"))
                found.append(_Mapping(start, end))
        elif wanted and rest.endswith(" kB"):
            found[-1].kilobytes[name[:-1]] = int(rest.split()[0])
    return found
