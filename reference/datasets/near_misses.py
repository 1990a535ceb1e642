"""Find files and parts of a dataset that are not in their place, and make hints from that."""

from __future__ import annotations

import os
import re
import shlex
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from odise_trt.files.paths import Kind, kind_of

from .needs import Need, is_archive, is_there, missing

#: Most misplaced parts that one hint names.
_NAMED = 3
#: Most subfolders of a folder that are searched.
_TRIED = 100


def whereabouts(file: Path) -> str | None:
    """Return a hint about a missing file of an index; None: there is no clue."""
    if os.path.islink(file):
        return f"it points to {os.readlink(file)}"
    if kind_of(file).kind is Kind.UNKNOWN:
        return "check the permissions"
    if os.path.lexists(file):
        return None
    folder = next((folder for folder in file.parents if os.path.isdir(folder)), None)
    if folder is None:
        return None
    written = str(file.relative_to(folder))
    last = re.split(r"[/\\]", written)[-1]
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", written):
        return f"file_name is an address: fetch the files into {folder}, and write their names alone"
    if last != written and last in _names(folder).all:
        return f"leave the folders out of file_name: such files lie in {folder} itself"
    below = next((other for other in _folders_of(folder) if last in _names(other).all), None)
    if below is not None:
        return f"such files lie in {below}"
    if "\\" in written:
        return f"write / between folders, and begin within {folder}"
    return _alike(file)


def _alike(file: Path) -> str | None:
    name = _names(file.parent).alike.get(_plain(file.name)) or _names(file.parent).stems.get(file.stem)
    if name is None:
        return None
    if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", file.name):
        return f"there is {name}: it looks the same, but is encoded otherwise (NFC, NFD): rename it"
    return f"there is {name}"


def elsewhere(
    path: Path, split: str, splits: Sequence[str], needs: Callable[[Path, str], Sequence[Need]]
) -> str | None:
    """Search for a dataset that is not complete in `path`: in the folders above and below, in other splits.

    Returns:
        A hint; None: there is no clue, or `prepare` can make all that is missing.
    """
    forget()
    above = Path(os.path.abspath(path)).parent
    if _may_be_entered(above) and not missing(needs(above, split)):
        return f"it is in the folder above: give {shlex.quote(str(above))}"
    needed = needs(path, split)
    gone = [need.path for need in missing(needed) if not need.prepared]
    hints = []
    if gone:
        there = [one for one in splits if one != split and not missing(needs(path, one))]
        hints += [f"the split {one} is there: choose it with --split {one}" for one in there]
    below = [
        folder
        for folder in _folders_of(path)[:_TRIED]
        if folder.name not in splits and not missing(needs(folder, split))
    ]
    if below:
        places = " or ".join(shlex.quote(str(one)) for one in below[:_NAMED])
        hints.append(f"it is in a folder below: give {places}")
    if not hints:
        kept = {need.path for need in needed}
        hints = [hint for one in gone if (hint := _renamed(path, one, kept))][:_NAMED]
    return "; ".join(hints) or (_unpack(path) if gone else None)


def _unpack(path: Path) -> str | None:
    archives = [name for name in listing(path) if name[0] != "." and is_archive(Path(name))]
    return f"{path} has archives: unpack {', '.join(archives[:_NAMED])}" if archives else None


def _renamed(root: Path, wanted: Path, kept: Collection[Path]) -> str | None:
    """Return a hint where a part of a dataset is: under a similar name, or in another folder."""
    for folder in dict.fromkeys((wanted.parent, root, *_folders_of(root)[:_TRIED])):
        for name in listing(folder):
            if _plain(name) == _plain(wanted.name) and folder / name != wanted and is_there(folder / name):
                return f"move {folder / name} to {wanted}"
    if wanted.suffix != ".json":
        return None
    others = [
        name
        for name in listing(wanted.parent)
        if ".json" in name.lower()
        and not name.startswith((".", "captions"))
        and wanted.with_name(name) not in kept
    ]
    return f"if it is {others[0]}, rename that to {wanted.name}" if len(others) == 1 else None


def forget() -> None:
    """Clear the caches of folders, which may have changed."""
    _names.cache_clear()
    listing.cache_clear()
    _folders_of.cache_clear()


@dataclass(frozen=True)
class _Names:
    """The names in a folder, prepared for fast search: an index may name a hundred thousand files.

    Attributes:
        all: the names.
        alike: casefolded name in Unicode's form NFC -> name.
        stems: name without suffix -> name.
    """

    all: frozenset[str]
    alike: Mapping[str, str]
    stems: Mapping[str, str]


@lru_cache(maxsize=64)
def _names(folder: Path) -> _Names:
    # In reverse order, so that the first of several similar names is kept.
    names = listing(folder)[::-1]
    return _Names(
        frozenset(names), {_plain(name): name for name in names}, {Path(name).stem: name for name in names}
    )


@lru_cache(maxsize=64)
def listing(folder: Path) -> tuple[str, ...]:
    """Return the sorted names in a folder; none if it cannot be read."""
    try:
        return tuple(sorted(os.listdir(folder)))
    except (OSError, ValueError):
        return ()


@lru_cache(maxsize=8)
def _folders_of(folder: Path) -> tuple[Path, ...]:
    """Return the subfolders of a folder that are not hidden and can be read."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_dir())
    except (OSError, ValueError):
        return ()
    return tuple(folder / name for name in names if _may_be_entered(folder / name))


def _may_be_entered(folder: Path) -> bool:
    # `is_there` takes an unreadable folder for one that is there.
    return os.access(folder, os.R_OK | os.X_OK)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
