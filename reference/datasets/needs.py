"""What a dataset consists of on disk, and what of it is not there."""

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
        path: where it has to be.
        what: what it is.
        prepared: whether `python -m reference.datasets prepare` makes it from the rest.
    """

    path: Path
    what: str
    prepared: bool = False


def find_root(path: Path, *folders: str) -> Path:
    """The dataset's own folder, when `path` is it or a folder of datasets.

    Args:
        path: what the user gave.
        folders: where the dataset lies in a folder of datasets, the usual place first: "coco".
    """
    return next((path / folder for folder in folders if os.path.isdir(path / folder)), path)


def first_existing(*paths: Path) -> Path:
    """The first of some places that exists; the first of them all where none does."""
    return next((path for path in paths if os.path.exists(path)), paths[0])


def is_there(path: Path) -> bool:
    """Whether it is a file, or a folder that is not empty; what may not be looked at counts, and is an error
    when it is read."""
    try:
        return is_file(path) or next(path.iterdir(), None) is not None
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether it is a file; `Path.is_file` raises where the system does not tell."""
    return kind_of(path).is_file


def why_no_file(path: Path) -> str | None:
    """Why a path is no file, "PATH is not there"; None: it is one."""
    found = kind_of(path)
    if found.is_file:
        return None
    if found.kind is Kind.NOTHING:
        return f"{path} is not there"
    if found.kind is Kind.UNKNOWN and found.why:
        return f"{path} cannot be looked at: {found.why}"
    return f"{path} is {found.kind}, not a file"


def names_of(path: Path) -> list[str]:
    """The words of a text file: names of images.

    Raises:
        DatasetError: it cannot be read, or has none.
    """
    names = text_of(path).split()
    if not names:
        raise DatasetError(f"{path} names no images", "unpack the archive again")
    return names


def text_of(path: Path) -> str:
    """A text file.

    Raises:
        DatasetError: it cannot be read, or is no text.
    """
    try:
        # Editors of Windows begin a text with a mark.
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {reason(error)}", hint_for(error)) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text (byte {error.start})", "unpack it again") from error


def partial_of(path: Path) -> Path:
    """What lies beside a file or folder as long as `prepare` has not finished it."""
    return path.with_name(f"{path.name}.partial")


def missing(needs: Iterable[Need]) -> list[Need]:
    """Those that do not exist, and folders that are empty."""
    return [need for need in needs if not is_there(need.path)]


def require(name: str, path: Path, split: str, needs: Sequence[Need], advice: str | None = None) -> None:
    """Raise DatasetError unless all is there.

    The error says what is missing or was not finished, and whether it can be made.

    Args:
        advice: what to do where something is missing; None: make it, or read the documentation.
    """
    check_folder(name, path)
    gone = missing(needs)
    if gone:
        rows = "".join(f"\n    {need.path}  ({need.what})" for need in gone)
        can_be_made = all(need.prepared for need in gone)
        raise DatasetError(
            f"the dataset {name} in {path} is not complete, there is no{rows}",
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
    """Raise DatasetError unless the path of a dataset is a folder that can be read."""
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
    """Whether it is an archive by its name."""
    return path.suffix.lower() in _ARCHIVES


def command(verb: str, name: str, path: Path, split: str) -> str:
    """What to type."""
    # A path like "-data" would be read as an option.
    place = f"./{path}" if str(path).startswith("-") else str(path)
    words = ["python", "-m", "reference.datasets", verb, name, place, "--split", split]
    return shlex.join(words)
