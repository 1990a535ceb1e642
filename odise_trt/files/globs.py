"""Globs as users type them: `*`, `?`, `[abc]` and `**`. Names of folders may have brackets, too."""

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
    """The matches of a glob.

    Attributes:
        paths: files and folders, in order.
        closed: folders that had to be searched but could not be read: path -> why.
    """

    paths: list[str] = field(default_factory=list)
    closed: dict[str, str] = field(default_factory=dict)


def is_glob(text: str) -> bool:
    """Whether `text` has a character with a special meaning in a glob."""
    return glob.has_magic(text)


def matches_of(pattern: str) -> Matches:
    """Return what `pattern` matches. It never raises.

    It works as Python's `glob`, with three differences. A part of the path that exists literally is that file
    or folder: `photos [2024]/*.jpg` are the pictures of the folder `photos [2024]`. If nothing matches,
    brackets are taken literally. Folders that cannot be read are reported.
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
    """Match `**`: this folder and all below it, also through links, except links to a folder above."""
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
