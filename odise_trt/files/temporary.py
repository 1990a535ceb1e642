"""Names of files and folders in the making, and clearing those that a killed process has left.

The name says which process writes it. What a process left that is gone is removed at once, if it ran
here; what another machine or container left, after a day: writing takes seconds.
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
    """A name for a file or folder in the making."""
    return f".odise-trt-{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:12]}.tmp"


def clear_leftovers(folder: Path, now: float) -> None:
    """Remove what processes that are gone had in the making; never raises.

    Args:
        folder: where.
        now: the time by the clock of its file system, as a file just written has it.
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
    """What tells this machine from others, and a container from its host: where process numbers count."""
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        facts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(facts).encode(errors="surrogateescape")).hexdigest()[:12]


def _is_running(process: int) -> bool:
    if os.name != "posix":  # where signal 0 is a real one
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True
