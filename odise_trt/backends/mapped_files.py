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
from pathlib import Path

_MAPS = Path("/proc/self/maps")


def release_pages(files: Iterable[Path]) -> int:
    """Give back the memory of all read-only mappings of files, whoever made them in this process.

    The numbers do not change: when they are read again, the system takes them from its cache of the file, or
    from the disk. On systems other than Linux nothing happens.

    Args:
        files: the files.

    Returns:
        The bytes that are mapped from them.
    """
    if not sys.platform.startswith("linux"):
        return 0
    wanted = {os.path.realpath(file) for file in files}
    advise = ctypes.CDLL(None, use_errno=True).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    mapped = 0
    for line in _MAPS.read_text(errors="surrogateescape").splitlines():
        # address range, permissions, offset, device, inode, path
        parts = line.split(maxsplit=5)
        # What cannot be written to has no changes that could be lost.
        if len(parts) == 6 and parts[1].startswith("r--") and parts[5] in wanted:
            start, end = (int(address, 16) for address in parts[0].split("-"))
            advise(start, end - start, mmap.MADV_DONTNEED)
            mapped += end - start
    return mapped
