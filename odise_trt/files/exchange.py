"""Swaps two files or folders in one step, where the operating system can."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_WORKING_FOLDER = -100  # AT_FDCWD: paths are taken as they are
_EXCHANGE = 2  # RENAME_EXCHANGE


def exchange(one: Path, other: Path) -> bool:
    """Give two existing files or folders each other's name, so that nobody ever finds one of them missing.

    Returns:
        False: it was not done, because this system or file system cannot do it (Linux 3.15 and later can,
        NFS cannot), or may not.
    """
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:  # a C library before glibc 2.28 or musl 1.2.5
        return False
    paths = os.fsencode(one), os.fsencode(other)
    done: int = rename(_WORKING_FOLDER, paths[0], _WORKING_FOLDER, paths[1], _EXCHANGE)
    return done == 0
