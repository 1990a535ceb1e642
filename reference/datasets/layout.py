"""What a dataset consists of on disk, and what of it is not there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import DatasetError


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
    return next((path / folder for folder in folders if (path / folder).is_dir()), path)


def first_existing(*paths: Path) -> Path:
    """The first of some places that exists; the first of them all where none does."""
    return next((path for path in paths if path.exists()), paths[0])


def missing(needs: Iterable[Need]) -> list[Need]:
    """Those that do not exist, and folders that are empty."""
    return [need for need in needs if not _is_there(need.path)]


def require(name: str, path: Path, needs: Sequence[Need]) -> None:
    """Nothing, where all is there.

    Raises:
        DatasetError: what is missing, and whether it can be made.
    """
    if not path.is_dir():
        raise DatasetError(f"{path} is not a folder", f"give the folder that holds the dataset {name}")
    gone = missing(needs)
    if not gone:
        return
    rows = "".join(f"\n    {need.path}  ({need.what})" for need in gone)
    raise DatasetError(
        f"the dataset {name} in {path} is not complete, there is no{rows}", _hint(name, path, gone)
    )


def _hint(name: str, path: Path, gone: Sequence[Need]) -> str:
    if all(need.prepared for need in gone):
        return f"make it: python -m reference.datasets prepare {name} {path}"
    return f"docs/datasets.md has the layout; `python -m reference.datasets verify {name} {path}` checks it"


def _is_there(path: Path) -> bool:
    try:
        return path.is_file() or next(path.iterdir(), None) is not None
    except OSError:
        return False
