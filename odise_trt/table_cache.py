"""The cache of text-embedding tables: its folder, and how tables are written, listed and cleared."""

from __future__ import annotations

import json
import os
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .bundle.manifest import MANIFEST, bundles_in
from .bundle.stopped_builds import stopped_builds
from .errors import OutputError, hint_for, reason
from .files.paths import expanded, home_is_unknown, kind_of
from .files.writing import replacing

#: Environment variable: a folder for caches, instead of the one beside the bundle.
ENVIRONMENT = "ODISE_CACHE"
#: Name of the folder that holds text-embedding tables.
VOCABULARIES = "vocabularies"

_TABLE = re.compile(r"[0-9a-f]{64}\.npz")
# Temporary files of earlier versions. Those of this version are removed when the next table is written.
_UNFINISHED = re.compile(r"\.[0-9a-f]{64}\.npz\.[0-9a-f]{32}\.tmp")
_UNREADABLE = "unreadable, will be made again"
_LOOKED_FOR = f"name a bundle, the folder that bundles are in, or their folder {VOCABULARIES}"
_HINT = f"make it writable, or set {ENVIRONMENT} to a folder that is"


@dataclass(frozen=True)
class CachedTable:
    """One text-embedding table on disk.

    Attributes:
        description: its categories in a few words, or that it cannot be read.
        modified: seconds since 1970.
    """

    path: Path
    bytes: int
    modified: float
    description: str

    @property
    def is_damaged(self) -> bool:
        """Whether it cannot be read."""
        return self.description == _UNREADABLE


@dataclass(frozen=True)
class Cleared:
    """The counts of what `clear` removed."""

    files: int
    bytes: int


def vocabulary_folder(bundle: Path) -> Path:
    """Return the folder of text-embedding tables: in `$ODISE_CACHE` if it is set, otherwise beside `bundle`.

    Bundles share the folder, since a table is named by what it was made from.

    Raises:
        OutputError: `$ODISE_CACHE` begins with a `~` whose home is not known.
    """
    cache = os.environ.get(ENVIRONMENT)
    return (from_home(cache, ENVIRONMENT) if cache else bundle.absolute().parent) / VOCABULARIES


def from_home(folder: str | os.PathLike[str], name: str) -> Path:
    """Return a folder for caches, with `~` resolved.

    Args:
        name: name of the setting, for the message.

    Raises:
        OutputError: the home is not known. `~` is never taken as a folder of that name.
    """
    if home_is_unknown(folder):
        raise OutputError(
            f"{name} is {os.fspath(folder)!r}, and no such home is known", "write the path from the root"
        )
    return Path(expanded(folder))


def find_folder(place: Path) -> Path:
    """Return the folder of tables, given a bundle, a folder of bundles, or the cache itself.

    Raises:
        OutputError: `place` is none of these.
    """
    there = kind_of(place)
    if not there.is_folder:
        what = f"is {there.kind}, not a folder" if there.is_there else f"cannot be looked into: {there.why}"
        raise OutputError(f"{place} {what}", _LOOKED_FOR)
    if place.name == VOCABULARIES or any(_TABLE.fullmatch(path.name) for path in _files(place)):
        return place
    if kind_of(place / MANIFEST).is_file:
        return vocabulary_folder(place)
    folder = vocabulary_folder(place / "a bundle")
    # A first build that was stopped leaves no bundle, and no tables either.
    has_tables = bool(os.environ.get(ENVIRONMENT)) or kind_of(folder).is_folder
    if not has_tables and not bundles_in(place) and not stopped_builds(place):
        raise OutputError(f"{place} holds neither bundles nor a cache of theirs", _LOOKED_FOR)
    return folder


def cached_tables(folder: Path) -> list[CachedTable]:
    """Return the tables in `folder`, latest first. Empty if there is no such folder.

    Raises:
        OutputError: the folder cannot be read.
    """
    tables = []
    for path in _files(folder):
        if _TABLE.fullmatch(path.name):
            try:
                status = path.stat()
            except OSError:
                continue  # another process has cleared it
            tables.append(CachedTable(path, status.st_size, status.st_mtime, _describe(path)))
    return sorted(tables, key=lambda table: -table.modified)


def clear(folder: Path) -> Cleared:
    """Remove the tables in `folder`, unfinished ones too. Files of other names are not touched.

    Raises:
        OutputError: a file cannot be removed.
    """
    files = size = 0
    for path in _files(folder):
        if _TABLE.fullmatch(path.name) or _UNFINISHED.fullmatch(path.name):
            try:
                bytes_ = path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                continue  # another process has removed it
            except OSError as error:
                raise OutputError(f"{path} cannot be removed: {reason(error)}", "check its owner") from error
            files, size = files + 1, size + bytes_
    return Cleared(files, size)


def ensure_writable(folder: Path) -> None:
    """Make `folder` if it does not exist. Call it before long work whose result goes there.

    Raises:
        OutputError: the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the cache folder {folder} cannot be made: {reason(error)}", _HINT) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"the cache folder {folder} cannot be written to", _HINT)


def replacing_table(path: Path) -> AbstractContextManager[BinaryIO]:
    """Give a file to write, which becomes the table `path` if the block ends without an error.

    Raises:
        OutputError: the file cannot be written.
    """
    return replacing(path, hint=lambda _: _HINT)


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if kind_of(path).is_file]
    except FileNotFoundError:
        return []
    except OSError as error:
        hint = hint_for(error) or "name a bundle, or the folder that bundles are in"
        raise OutputError(f"the cache folder {folder} cannot be read: {reason(error)}", hint) from error


def _describe(path: Path) -> str:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as table:
            names = [category[0] for category in json.loads(str(table["names"]))]
    except Exception:  # zipfile and numpy can raise nearly any error on damaged files
        return _UNREADABLE
    shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    return f"{len(names)} {'category' if len(names) == 1 else 'categories'}: {shown}"
