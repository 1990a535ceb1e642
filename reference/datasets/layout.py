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


def is_there(path: Path) -> bool:
    """Whether it is a file, or a folder that is not empty."""
    try:
        return path.is_file() or next(path.iterdir(), None) is not None
    except OSError:
        return False


def partial_of(path: Path) -> Path:
    """What lies beside a file or folder as long as `prepare` has not finished it."""
    return path.with_name(f"{path.name}.partial")


def missing(needs: Iterable[Need]) -> list[Need]:
    """Those that do not exist, and folders that are empty."""
    return [need for need in needs if not is_there(need.path)]


def require(name: str, path: Path, split: str, needs: Sequence[Need]) -> None:
    """Nothing, where all is there.

    Raises:
        DatasetError: what is missing or was not finished, and whether it can be made.
    """
    if not path.is_dir():
        raise DatasetError(f"{path} is not a folder", f"give the folder that holds the dataset {name}")
    gone = missing(needs)
    if gone:
        rows = "".join(f"\n    {need.path}  ({need.what})" for need in gone)
        raise DatasetError(
            f"the dataset {name} in {path} is not complete, there is no{rows}",
            f"make it: {command('prepare', name, path, split)}"
            if all(need.prepared for need in gone)
            else f"docs/datasets.md has the layout; `{command('verify', name, path, split)}` checks it",
        )
    begun = [need for need in needs if need.prepared and partial_of(need.path).exists()]
    if begun:
        raise DatasetError(
            f"the dataset {name} in {path} is not complete: {begun[0].path} was prepared in part",
            f"finish it: {command('prepare', name, path, split)}",
        )


def command(verb: str, name: str, path: Path, split: str) -> str:
    """What to type."""
    return f"python -m reference.datasets {verb} {name} {path} --split {split}"
