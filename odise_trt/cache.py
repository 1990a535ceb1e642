"""Where things are kept that can be made again, and how they are written, listed and cleared."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .errors import OutputError

#: Environment variable: a folder for caches, instead of the one beside the bundle.
ENVIRONMENT = "ODISE_CACHE"
#: Name of the folder that holds text-embedding tables.
VOCABULARIES = "vocabularies"

_TABLE = re.compile(r"[0-9a-f]{64}\.npz")
_UNFINISHED = re.compile(r"\.[0-9a-f]{64}\.npz\.[0-9a-f]{32}\.tmp")
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


@dataclass(frozen=True)
class Cleared:
    """What `clear` removed."""

    files: int
    bytes: int


def vocabulary_folder(bundle: Path) -> Path:
    """The folder of text-embedding tables: in `$ODISE_CACHE` where it is set, otherwise beside `bundle`.

    Bundles share it: a table is named by what it was made from.
    """
    cache = os.environ.get(ENVIRONMENT)
    return (Path(cache).expanduser() if cache else bundle.absolute().parent) / VOCABULARIES


def cached_tables(folder: Path) -> list[CachedTable]:
    """The tables in `folder`, latest first; none if there is no such folder.

    Raises:
        OutputError: the folder cannot be read.
    """
    tables = []
    for path in _files(folder):
        if _TABLE.fullmatch(path.name):
            status = path.stat()
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
                continue  # another process was faster
            except OSError as error:
                raise OutputError(f"{path} cannot be removed: {error.strerror}", "check its owner") from error
            files, size = files + 1, size + bytes_
    return Cleared(files, size)


def ensure_writable(folder: Path) -> None:
    """Make `folder` if need be. To be called before long work whose result goes there.

    Raises:
        OutputError: the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the cache folder {folder} cannot be made: {error.strerror}", _HINT) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"the cache folder {folder} cannot be written to", _HINT)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which becomes `path` in one step when the block ends without an error.

    Whoever reads `path` meanwhile sees the old file or the new one; of several writers the last one wins.

    Raises:
        OutputError: the file cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with unfinished.open("xb") as file:
            yield file
        unfinished.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}", _HINT) from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_file()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(f"the cache folder {folder} cannot be read: {error.strerror}", _HINT) from error


def _describe(path: Path) -> str:
    try:
        with np.load(path, allow_pickle=False) as table:
            names = [category[0] for category in json.loads(str(table["names"]))]
    except Exception:  # damage can surface as nearly anything in zipfile and numpy
        return "unreadable, will be made again"
    shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    return f"{len(names)} {'category' if len(names) == 1 else 'categories'}: {shown}"
