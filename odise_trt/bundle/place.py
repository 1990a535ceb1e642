"""The place of a bundle: resolving a link to it, and clearing what killed builds left beside it."""

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

#: Beside a bundle NAME, `.NAME.partial-...` is a bundle being written, `.NAME.retired-...` a replaced one.
PARTIAL, RETIRED = ".partial-", ".retired-"
#: Suffixes of the files that a build writes. They are used where no manifest lists the files.
_SUFFIXES = "|".join(re.escape(suffix) for suffix in sorted({entry.suffix for entry in BACKENDS.values()}))
_BUILT = re.compile(rf"(manifest|tokenizer)\.json|constants\.npz|parity\.html|.+(\.onnx\.data|{_SUFFIXES})")
#: Prefix that NFS gives to removed files that are still open.
_REMOVED = ".nfs"


def real_place(target: str | os.PathLike[str]) -> Path:
    """Return the folder that `target` is, or links to. It need not exist yet.

    Raises:
        OutputError: `target` is a broken link, for example to a disk that is not mounted.
    """
    place = Path(os.path.realpath(target))
    if os.path.islink(target) and not os.path.exists(target):
        raise OutputError(
            f"{os.fsdecode(target)} is a link to {place}, which is not there",
            "make that folder, or remove the link",
        )
    return place


def nearest_folder(target: Path) -> Path:
    """Return the folder that a bundle will lie in, or what exists of the way there."""
    place = real_place(target).parent
    return next(one for one in (place, *place.parents) if one.exists())


def make_parent(place: Path) -> None:
    """Make the parent folder of a bundle if it does not exist.

    Raises:
        OutputError: the folder cannot be made.
    """
    with writing(place):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            why = f"{place.parent} is not a folder"
            raise OutputError(f"{place} cannot be written: {why}", "choose another --output") from error


def carry_over(place: Path, new: Path) -> None:
    """Carry the files that a user added to a bundle (notes, results) over to the new bundle.

    Files are hard-linked where the file system supports it, so nothing is lost if the build is killed now.

    Raises:
        OSError: a file can be neither linked nor copied.
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
    """Return a function that tells by name whether a build wrote a file or folder of the bundle."""
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
    """Remove what killed builds left beside a bundle. If the bundle is missing, its old version is put back.

    Call it only while no other process can be building this bundle.

    Args:
        place: the result of `real_place`.
        more: further kinds of temporary folders besides those of `BundleWriter`: `-x-` of `.NAME-x-...`.

    Returns:
        The names of what was removed or put back.
    """
    kinds = (PARTIAL, RETIRED, *more)
    beside = sorted(os.listdir(place.parent)) if place.parent.is_dir() else []
    found = [name for name in beside if name.startswith(tuple(f".{place.name}{kind}" for kind in kinds))]
    for name in found:
        left = place.with_name(name)
        # The bundle itself is missing only if a build was killed between two renames.
        if name.startswith(f".{place.name}{RETIRED}") and (left / MANIFEST).is_file() and not place.exists():
            left.rename(place)
        else:
            shutil.rmtree(left, ignore_errors=True)
    return [name for name in found if not place.with_name(name).exists()]
