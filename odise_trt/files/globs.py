"""Globs as people type them: `*`, `?`, `[abc]` and `**`, in folders whose own names may have brackets."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import reason
from .paths import kind_of


@dataclass
class Matches:
    """What a glob matches.

    Attributes:
        paths: files and folders, in order.
        closed: folders that had to be looked into and could not be: path -> why.
    """

    paths: list[str] = field(default_factory=list)
    closed: dict[str, str] = field(default_factory=dict)


def is_glob(text: str) -> bool:
    """Whether `text` has a letter that means something in a glob."""
    return glob.has_magic(text)


def matches_of(pattern: str) -> Matches:
    """What `pattern` matches; never raises.

    As for Python's `glob`, with three differences. A part of the path that exists under that very name is
    that file or folder: `photos [2024]/*.jpg` are the pictures of the folder `photos [2024]`. Where nothing
    matches, brackets are letters. And folders that cannot be read are told about.
    """
    found = _found(pattern)
    if not found.paths and "[" in pattern:
        return _found(pattern.replace("[", "[[]"))
    return found


def _found(pattern: str) -> Matches:
    found = Matches()
    start = "/" if pattern.startswith("/") else ""
    parts = [part for part in pattern.split("/") if part]
    found.paths = sorted(set(_walk(start, parts, found.closed, ())))
    return found


def _walk(
    folder: str, parts: list[str], closed: dict[str, str], above: tuple[tuple[int, int], ...]
) -> Iterator[str]:
    if not parts:
        yield folder
        return
    part, *rest = parts
    if part == "**":
        yield from _walk_below(folder, rest, closed, above)
    elif os.path.lexists(os.path.join(folder, part)) or not is_glob(part):
        if os.path.lexists(os.path.join(folder, part)):
            yield from _walk(os.path.join(folder, part), rest, closed, above)
    else:
        for name in _names(folder, closed):
            shown = not name.startswith(".") or part.startswith(".")
            if shown and fnmatch.fnmatchcase(name, part):
                path = os.path.join(folder, name)
                if not rest or kind_of(path).is_folder:
                    yield from _walk(path, rest, closed, above)


def _walk_below(
    folder: str, rest: list[str], closed: dict[str, str], above: tuple[tuple[int, int], ...]
) -> Iterator[str]:
    """`**`: this folder and all below it, those behind links too; a link to a folder above ends there."""
    try:
        status = os.stat(folder or ".")
    except (OSError, ValueError):
        return
    place = (status.st_dev, status.st_ino)
    if place in above:
        return
    if rest:
        yield from _walk(folder, rest, closed, ())
    for name in _names(folder, closed):
        if name.startswith("."):
            continue
        path = os.path.join(folder, name)
        if not rest:
            yield path
        if kind_of(path).is_folder:
            yield from _walk_below(path, rest, closed, (*above, place))


def _names(folder: str, closed: dict[str, str]) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except NotADirectoryError:
        return []
    except OSError as error:
        closed[folder] = reason(error)
        return []
    except ValueError:
        return []
