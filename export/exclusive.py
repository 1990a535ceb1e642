"""One build per bundle at a time, and removal of the temporary folders of killed builds.

While a build holds the lock of a bundle NAME, no other process writes that bundle. Every temporary folder
beside it (`.NAME.partial-...`, `.NAME.retired-...`, `.NAME.onnx-...`) is then its own or that of a build that
was killed. The finished stages of that build, in `.NAME.stages`, are kept (`export.finished`).
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from odise_trt.bundle.place import clear_leftovers, make_parent, real_place
from odise_trt.bundle.stopped_builds import GRAPHS
from odise_trt.files.writing import writing
from reference.alone import alone

#: What a build makes beside its bundle, after `.NAME.`.
_LEFT = re.compile(r"(partial-|retired-|onnx-|stages$|lock$|holder$)")

_held: set[Path] = set()


@contextmanager
def exclusively(bundles: Iterable[Path], note: Callable[[str], None]) -> Iterator[None]:
    """Lock these bundles against other builds in the block, and remove what killed builds left behind.

    Args:
        bundles: their folders, which need not exist.
        note: called with a line when the build has to wait, and when something was removed.

    Raises:
        OutputError: a folder cannot be written to, or its file system has no locks.
    """
    with ExitStack() as stack:
        # Every build locks in the same order. Otherwise two builds could wait for each other for ever.
        for place in sorted({real_place(bundle) for bundle in bundles}):
            stack.enter_context(_lock(place, note))
        yield


@contextmanager
def graph_folder(bundle: Path) -> Iterator[Path]:
    """Make a temporary folder for graphs. Only for use inside `exclusively`.

    Raises:
        OutputError: it cannot be made.
    """
    place = real_place(bundle)
    with writing(place):
        prefix = f".{place.name}{GRAPHS}"
        folder = tempfile.TemporaryDirectory(prefix=prefix, dir=place.parent, ignore_cleanup_errors=True)
    with folder as path:
        yield Path(path)


def has_leftovers(bundle: Path) -> bool:
    """Whether a build of this bundle runs now, or was killed and left something beside it."""
    place = real_place(bundle)
    hidden = f".{place.name}."
    names = os.listdir(place.parent) if place.parent.is_dir() else []
    return any(name.startswith(hidden) and _LEFT.match(name, len(hidden)) for name in names)


def clear_held() -> None:
    """Remove every temporary folder of this process, if it cannot wait for its normal clean-up."""
    for place in tuple(_held):
        with suppress(OSError):
            clear_leftovers(place, GRAPHS)


@contextmanager
def _without_empty(folder: Path | None) -> Iterator[None]:
    """Remove a folder at the end of the block if nothing was put into it. None: remove nothing."""
    try:
        yield
    finally:
        if folder is not None:
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def _lock(place: Path, note: Callable[[str], None]) -> Iterator[None]:
    is_new = not os.path.exists(place.parent)
    make_parent(place)
    with _without_empty(place.parent if is_new else None), alone(place, note, "build"):
        _held.add(place)
        try:
            if left := clear_leftovers(place, GRAPHS):
                note(f"cleared what a build that was killed left: {', '.join(left)}")
            yield
        finally:
            with suppress(OSError):
                clear_leftovers(place, GRAPHS)
            _held.discard(place)
