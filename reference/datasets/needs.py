"""The files and folders that a dataset needs, and which of them are missing."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from odise_trt.errors import hint_for, reason
from odise_trt.files.paths import Kind, kind_of
from reference.errors import DatasetError

_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst")


@dataclass(frozen=True)
class Need:
    """A file or folder of a dataset.

    Attributes:
        path: its place.
        what: its description.
        prepared: whether `python -m reference.datasets prepare` makes it.
    """

    path: Path
    what: str
    prepared: bool = False


def find_root(path: Path, *folders: str) -> Path:
    """Return the dataset's own folder, from that folder itself or from a folder of datasets.

    Args:
        path: the given folder.
        folders: places of the dataset in a folder of datasets, as "coco"; the usual place first.
    """
    return next((path / folder for folder in folders if os.path.isdir(path / folder)), path)


def first_existing(*paths: Path) -> Path:
    """Return the first path that exists, or the first path if none exists."""
    return next((path for path in paths if os.path.exists(path)), paths[0])


def is_there(path: Path) -> bool:
    """Whether a path is a file or a folder that is not empty.

    A path without permission counts as there; reading it will be an error that says so.
    """
    try:
        return is_file(path) or next(path.iterdir(), None) is not None
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether a path is a file. Unlike `Path.is_file` it never raises."""
    return kind_of(path).is_file


def why_no_file(path: Path) -> str | None:
    """Return why a path is not a file, as "PATH is not there"; None: it is a file."""
    found = kind_of(path)
    if found.is_file:
        return None
    if found.kind is Kind.NOTHING:
        return f"{path} is not there"
    if found.kind is Kind.UNKNOWN and found.why:
        return f"{path} cannot be looked at: {found.why}"
    return f"{path} is {found.kind}, not a file"


def names_of(path: Path) -> list[str]:
    """Return the names of images in a text file.

    Raises:
        DatasetError: the file cannot be read, or has no names.
    """
    names = text_of(path).split()
    if not names:
        raise DatasetError(f"{path} names no images", "unpack the archive again")
    return names


def text_of(path: Path) -> str:
    """Read a text file.

    Raises:
        DatasetError: the file cannot be read, or is not UTF-8 text.
    """
    try:
        # Some editors of Windows begin a file with a byte order mark.
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {reason(error)}", hint_for(error)) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text (byte {error.start})", "unpack it again") from error


def partial_of(path: Path) -> Path:
    """Return the path of the file that exists while `prepare` has not finished a file or folder."""
    return path.with_name(f"{path.name}.partial")


def missing(needs: Iterable[Need]) -> list[Need]:
    """Return the needs that do not exist or are empty folders."""
    return [need for need in needs if not is_there(need.path)]


def require(name: str, path: Path, split: str, needs: Sequence[Need], advice: str | None = None) -> None:
    """Raise DatasetError unless all needs are there and complete.

    The error lists what is missing or unfinished, and says whether `prepare` can make it.

    Args:
        name, path, split: of the dataset.
        needs: to check.
        advice: the hint if something is missing; None: a standard hint.
    """
    check_folder(name, path)
    gone = missing(needs)
    if gone:
        rows = "".join(f"\n    {need.path}  ({need.what})" for need in gone)
        can_be_made = all(need.prepared for need in gone)
        raise DatasetError(
            f"the dataset {name} in {path} is not complete; missing:{rows}",
            advice
            or (
                f"make it: {command('prepare', name, path, split)}"
                if can_be_made
                else "docs/datasets.md has the layout"
            ),
        )
    begun = [need for need in needs if need.prepared and os.path.exists(partial_of(need.path))]
    if begun:
        raise DatasetError(
            f"the dataset {name} in {path} is not complete: {begun[0].path} was prepared in part",
            f"finish it: {command('prepare', name, path, split)}",
        )


def check_folder(name: str, path: Path) -> None:
    """Raise DatasetError unless `path` is a folder that can be read."""
    try:
        os.scandir(path).close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError(f"{path} is not a folder", _folder_hint(name, path)) from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {reason(error)}", hint_for(error)) from error
    except ValueError as error:
        raise DatasetError(f"{str(path)!r} is not a path: {error}") from error


def _folder_hint(name: str, path: Path) -> str:
    if is_archive(path) and is_file(path):
        return "unpack it, and give the folder"
    return f"give the folder that holds the dataset {name}"


def is_archive(path: Path) -> bool:
    """Whether a path has the suffix of an archive."""
    return path.suffix.lower() in _ARCHIVES


def command(verb: str, name: str, path: Path, split: str) -> str:
    """Return the command line of a verb for a dataset."""
    # A path like "-data" would be read as an option.
    place = f"./{path}" if str(path).startswith("-") else str(path)
    words = ["python", "-m", "reference.datasets", verb, name, place, "--split", split]
    return shlex.join(words)
