"""One process at a time per file or folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from odise_trt.errors import OutputError, reason

_SECONDS_BETWEEN_TRIES = 0.2


@contextmanager
def alone(place: Path, note: Callable[[str], None], what: str) -> Iterator[None]:
    """Keep other processes from making the same file or folder in the block.

    Args:
        place: the file or folder. What it lies in exists.
        note: is told that this process waits for another.
        what: the work, for messages: "build", "download".

    Raises:
        OutputError: the file system takes no locks.
    """
    file = place.with_name(f".{place.name}.lock")
    lock = FileLock(file, fallback_to_soft=False, poll_interval=_SECONDS_BETWEEN_TRIES)
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            note(f"waiting for another {what} of {place}")
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        why = reason(error) if isinstance(error, OSError) else "the file system has no locks"
        raise OutputError(
            f"{place} cannot be locked against other {what}s: {why}",
            "choose another --output, on a local disk",
        ) from error
    try:
        yield
    finally:
        # The file is removed while it is locked: a waiting process sees that it is gone, and makes a new one.
        file.unlink(missing_ok=True)
        lock.release()
