"""The place of a bundle: what a link to it means, and what builds that died left beside it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from ..backends.registry import BACKENDS
from ..errors import BundleError, OutputError
from ..files.writing import writing
from .manifest import MANIFEST, Manifest

#: Beside a bundle NAME, `.NAME.partial-...` is being written and `.NAME.retired-...` was replaced.
PARTIAL, RETIRED = ".partial-", ".retired-"
#: What a build writes, where there is no manifest to tell.
_SUFFIXES = "|".join(re.escape(suffix) for suffix in sorted({entry.suffix for entry in BACKENDS.values()}))
_BUILT = re.compile(rf"(manifest|tokenizer)\.json|constants\.npz|parity\.html|.+(\.onnx\.data|{_SUFFIXES})")
#: Open files that were removed, on NFS.
_REMOVED = ".nfs"


def real_place(target: str | os.PathLike[str]) -> Path:
    """The folder that `target` is, or is a link to; it need not exist yet.

    Raises:
        OutputError: it is a link to nothing, as to a disk that is not mounted.
    """
    place = Path(os.path.realpath(target))
    if os.path.islink(target) and not os.path.exists(target):
        raise OutputError(
            f"{os.fsdecode(target)} is a link to {place}, which is not there",
            "make that folder, or remove the link",
        )
    return place


def make_parent(place: Path) -> None:
    """Make the folder that a bundle is put into, if need be.

    Raises:
        OutputError: it cannot be made.
    """
    with writing(place):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            why = f"{place.parent} is not a folder"
            raise OutputError(f"{place} cannot be written: {why}", "choose another --output") from error


def carry_over(place: Path, new: Path) -> None:
    """Put what somebody else has put into a bundle into the one that will replace it: notes, results.

    Files are linked where the file system can, so that nothing is missing if the build is killed now.

    Raises:
        OSError: it cannot be done.
    """
    built = _built_in(place)
    for name in sorted(os.listdir(place)) if place.is_dir() else ():
        if built(name) or name.startswith(_REMOVED) or os.path.lexists(new / name):
            continue
        if (place / name).is_dir() and not (place / name).is_symlink():
            shutil.copytree(place / name, new / name, symlinks=True, copy_function=_linked)
        else:
            _linked(place / name, new / name)


def _built_in(place: Path) -> Callable[[str], object]:
    """Whether a build wrote the file or folder of that name in a bundle."""
    try:
        listed = Manifest.read(place).files
    except BundleError:
        return _BUILT.fullmatch
    return {MANIFEST, *(name.partition("/")[0] for name in listed)}.__contains__


def _linked(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def clear_leftovers(place: Path, *more: str) -> list[str]:
    """Remove what builds that died left beside a bundle; its old version is put back where it is missing.

    To be called only while no other process can be building this bundle.

    Args:
        place: as of `real_place`.
        more: kinds of temporary folders, `-x-` of `.NAME-x-...`, besides those of `BundleWriter`.

    Returns:
        The names of what was removed or put back.
    """
    kinds = (PARTIAL, RETIRED, *more)
    beside = sorted(os.listdir(place.parent)) if place.parent.is_dir() else []
    found = [name for name in beside if name.startswith(tuple(f".{place.name}{kind}" for kind in kinds))]
    for name in found:
        left = place.with_name(name)
        # Only a build that ended between two renames leaves it without the bundle.
        if name.startswith(f".{place.name}{RETIRED}") and (left / MANIFEST).is_file() and not place.exists():
            left.rename(place)
        else:
            shutil.rmtree(left, ignore_errors=True)
    return [name for name in found if not place.with_name(name).exists()]
