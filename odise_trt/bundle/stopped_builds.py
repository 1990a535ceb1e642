"""What builds that were stopped left beside their bundles: finished stages, and unfinished folders.

A build of bundle NAME keeps the stages that are finished in `.NAME.stages`, a partial bundle. The next build
goes on with them, see `export.finished`.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..errors import BundleError, OutputError
from ..files.writing import writing
from .bundle import Bundle
from .manifest import Manifest
from .place import PARTIAL, clear_leftovers

#: End of the name of a folder of finished stages, and beginning of that of unfinished graphs, see `export`.
FINISHED, GRAPHS = ".stages", ".onnx-"
_LEFT = re.compile(r"\.(?P<name>.+?)\.(?:stages$|partial-.*|retired-.*|onnx-.*|lock$|holder$)")


@dataclass(frozen=True)
class StoppedBuild:
    """A build that did not end, or that runs now.

    Attributes:
        bundle: the place of its bundle, which may be there from an earlier build.
        stages: names of the stages that are finished. The next build takes those over that it wants.
        bytes: size of all that it left, without what it shares with the bundle.
        runs: a process has its lock.
    """

    bundle: Path
    stages: tuple[str, ...]
    bytes: int
    runs: bool


def stopped_builds(folder: Path) -> list[StoppedBuild]:
    """Return the builds in a folder of bundles that were stopped, or that run now, by name.

    Raises:
        OutputError: the folder cannot be read.
    """
    with writing(folder):
        names = os.listdir(folder) if folder.is_dir() else []
    found = {match["name"] for match in map(_LEFT.fullmatch, names) if match is not None}
    return [_described(folder / name, names) for name in sorted(found)]


def damage(build: StoppedBuild) -> dict[str, str]:
    """Compare the files of finished stages with their SHA-256: name -> what is wrong.

    A build finds the same, and builds that stage again.
    """
    place = _finished(build.bundle)
    try:
        manifest = Manifest.read(place)
        # The files that belong to no stage are written at the end of a build.
        return Bundle(place, manifest).damage([entry.spec.name for entry in manifest.stages])
    except BundleError as error:
        return {place.name: str(error)} if place.is_dir() else {}


def prune(build: StoppedBuild) -> None:
    """Remove everything that a stopped build left. Its bundle stays; an older one is put back if it is gone.

    Raises:
        OutputError: the build runs, or a folder cannot be removed.
    """
    if runs(build.bundle):
        raise OutputError(f"a build of {build.bundle} runs now", "wait for its end, or stop it")
    with writing(build.bundle):
        if _finished(build.bundle).is_dir():
            shutil.rmtree(_finished(build.bundle))
        clear_leftovers(build.bundle, GRAPHS)
        for kind in ("lock", "holder"):
            build.bundle.with_name(f".{build.bundle.name}.{kind}").unlink(missing_ok=True)


def runs(bundle: Path) -> bool:
    """Whether a process on this machine builds a bundle now: its lock is taken."""
    lock = bundle.with_name(f".{bundle.name}.lock")
    if not lock.exists():
        return False
    try:
        import fcntl
    except ImportError:  # Windows: a file that another process has locked cannot be removed either
        return True
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _described(bundle: Path, beside: list[str]) -> StoppedBuild:
    place = _finished(bundle)
    try:
        stages = tuple(entry.spec.name for entry in Manifest.read(place).stages)
    except BundleError:
        stages = ()
    temporary = tuple(f".{bundle.name}{kind}" for kind in (FINISHED, PARTIAL, GRAPHS))
    known: set[tuple[int, int]] = set()
    total = sum(_size(bundle.parent / name, known) for name in beside if name.startswith(temporary))
    return StoppedBuild(bundle, stages, total, runs(bundle))


def _finished(bundle: Path) -> Path:
    return bundle.with_name(f".{bundle.name}{FINISHED}")


def _size(folder: Path, known: set[tuple[int, int]]) -> int:
    """Return the bytes of the files in a folder that are not known yet. Most have several names."""
    total = 0
    for path in folder.rglob("*"):
        try:
            status = path.lstat()
        except OSError:
            continue  # a build that runs has moved it
        file = (status.st_dev, status.st_ino)
        if path.is_file() and file not in known:
            known.add(file)
            total += status.st_size
    return total
