"""One build per bundle at a time, and nothing left of those that died.

While a build holds the lock of a bundle NAME, no other process writes that bundle: every temporary folder
beside it (`.NAME.partial-...`, `.NAME.retired-...`, `.NAME.onnx-...`) is of a build that died, or its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from odise_trt.bundle.place import clear_leftovers, make_parent, real_place
from odise_trt.errors import OutputError, reason
from odise_trt.files.writing import writing

#: Graphs in the making, beside the bundle they are for: they become its files by a link, without copying.
_GRAPHS = ".onnx-"
_SECONDS_BETWEEN_TRIES = 0.2

_held: set[Path] = set()


@contextmanager
def exclusively(bundles: Iterable[Path], note: Callable[[str], None]) -> Iterator[None]:
    """Let no other build write these bundles in the block; leftovers of dead builds are cleared.

    Args:
        bundles: their folders, which need not exist.
        note: is given a line where there is something to wait for, and where something was cleared.

    Raises:
        OutputError: a folder cannot be written to, or its file system has no locks.
    """
    with ExitStack() as stack:
        # In one order everywhere: two builds of the same bundles could wait for each other for ever.
        for place in sorted({real_place(bundle) for bundle in bundles}):
            stack.enter_context(_lock(place, note))
        yield


@contextmanager
def graph_folder(bundle: Path) -> Iterator[Path]:
    """A temporary folder for graphs; only inside `exclusively`.

    Raises:
        OutputError: it cannot be made.
    """
    place = real_place(bundle)
    with writing(place):
        prefix = f".{place.name}{_GRAPHS}"
        folder = tempfile.TemporaryDirectory(prefix=prefix, dir=place.parent, ignore_cleanup_errors=True)
    with folder as path:
        yield Path(path)


def clear_held() -> None:
    """Remove every temporary folder of this process: for one that cannot wait for its own clean-up."""
    for place in tuple(_held):
        with suppress(OSError):
            clear_leftovers(place, _GRAPHS)


@contextmanager
def _lock(place: Path, note: Callable[[str], None]) -> Iterator[None]:
    file = place.with_name(f".{place.name}.lock")
    lock = FileLock(file, fallback_to_soft=False, poll_interval=_SECONDS_BETWEEN_TRIES)
    make_parent(place)
    _acquire(lock, place, note)
    _held.add(place)
    try:
        if left := clear_leftovers(place, _GRAPHS):
            note(f"cleared what a build that was killed left: {', '.join(left)}")
        yield
    finally:
        with suppress(OSError):
            clear_leftovers(place, _GRAPHS)
        _held.discard(place)
        # While it is locked: who waits for it sees that it lost its name, and makes a new one.
        file.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, place: Path, note: Callable[[str], None]) -> None:
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            note(f"waiting for another build of {place}")
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        why = reason(error) if isinstance(error, OSError) else "the file system has no locks"
        raise OutputError(
            f"{place} cannot be locked against other builds: {why}",
            "choose another --output, on a local disk",
        ) from error
