"""One process at a time per file or folder."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from odise_trt.errors import OutputError, reason

_SECONDS_BETWEEN_TRIES = 0.2


@contextmanager
def alone(place: Path, note: Callable[[str], None], what: str) -> Iterator[None]:
    """Keep other processes from making the same file or folder in the block.

    Args:
        place: the file or folder. What it lies in exists.
        note: is told that this process waits for another, and for which: process, machine, since when.
        what: the work, for messages: "build", "download".

    Raises:
        OutputError: the file system takes no locks.
    """
    file, holder = place.with_name(f".{place.name}.lock"), place.with_name(f".{place.name}.holder")
    lock = FileLock(file, fallback_to_soft=False, poll_interval=_SECONDS_BETWEEN_TRIES)
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            note(f"waiting for another {what} of {place}{_named(holder)}")
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        why = reason(error) if isinstance(error, OSError) else "the file system has no locks"
        raise OutputError(
            f"{place} cannot be locked against other {what}s: {why}",
            "choose another --output, on a local disk",
        ) from error
    try:
        # A file of its own: whoever tries to lock the other one empties it.
        with suppress(OSError):
            holder.write_text(_this_process(), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            holder.unlink()
        # The file is removed while it is locked: a waiting process sees that it is gone, and makes a new one.
        file.unlink(missing_ok=True)
        lock.release()


def _this_process() -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return f"process {os.getpid()} on {socket.gethostname()}, since {since}"


def _named(holder: Path) -> str:
    """Return who holds a lock, in brackets. Empty if that is not known, as in its first moment."""
    try:
        line = holder.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    except OSError:
        return ""
    return f" ({line:.200})" if line.isprintable() and line else ""
