"""Names of temporary files and folders, and removal of those that a killed process has left.

The name says which process writes the file. A leftover of a process of this machine is removed as soon as
that process is gone. A leftover of another machine or container is removed after a day, since writing takes
only seconds.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path

_NAME = re.compile(r"\.odise-trt-(?P<machine>[0-9a-f]{12})-(?P<process>[0-9]+)-[0-9a-f]{12}\.tmp")
_DAY = 24 * 60 * 60


def temporary_name() -> str:
    """Return a name for a temporary file or folder."""
    return f".odise-trt-{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:12]}.tmp"


def clear_leftovers(folder: Path, now: float) -> None:
    """Remove temporary files and folders of processes that are gone. It never raises.

    Args:
        folder: the folder to clear.
        now: the time by the clock of the folder's file system, taken from a file just written.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            if match is None:
                continue
            with suppress(OSError):
                here = match["machine"] == _machine() and not _is_running(int(match["process"]))
                if here or now - entry.stat(follow_symlinks=False).st_mtime > _DAY:
                    _remove(entry)


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path, ignore_errors=True)
    else:
        Path(entry).unlink()


@cache
def _machine() -> str:
    """Identify this machine or container, within which process numbers are unique."""
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        facts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(facts).encode(errors="surrogateescape")).hexdigest()[:12]


def _is_running(process: int) -> bool:
    if os.name != "posix":  # signal 0 is a real signal there
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # the process belongs to another user
        return True
    return True
