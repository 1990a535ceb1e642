"""Finds out what is at a path, and what `~` means, without raising errors of the operating system.

`Path.is_file`, `is_dir` and `exists` raise if a folder may not be entered, or a name is too long or holds a
null byte. `Path.expanduser` raises if a home is not known. A path that a user gives must not end a program in
this way.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ..errors import ArgumentError, reason


class Kind(StrEnum):
    """The kinds of things at a path. The values are words for messages."""

    FILE = "a file"
    FOLDER = "a folder"
    PIPE = "a pipe"
    SOCKET = "a socket"
    DEVICE = "a device"
    NOTHING = "nothing"
    BROKEN_LINK = "a broken link"
    UNKNOWN = "not known"


@dataclass(frozen=True)
class Found:
    """What is at a path.

    Attributes:
        kind: what it is. Links are followed.
        why: for NOTHING, BROKEN_LINK and UNKNOWN, the system's words such as "Permission denied". Else "".
    """

    kind: Kind
    why: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file, or a link to one."""
        return self.kind is Kind.FILE

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, or a link to one."""
        return self.kind is Kind.FOLDER

    @property
    def is_there(self) -> bool:
        """Whether something is there. False for a broken link, and where the system gives no information."""
        return self.kind not in (Kind.NOTHING, Kind.BROKEN_LINK, Kind.UNKNOWN)


_MODES = (
    (stat.S_ISREG, Kind.FILE),
    (stat.S_ISDIR, Kind.FOLDER),
    (stat.S_ISFIFO, Kind.PIPE),
    (stat.S_ISSOCK, Kind.SOCKET),
    (stat.S_ISCHR, Kind.DEVICE),
    (stat.S_ISBLK, Kind.DEVICE),
)


def each(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return the paths as a list of texts. A single path gives a list of one.

    Raises:
        ArgumentError: a value is not a path.
    """
    if isinstance(paths, str | bytes | os.PathLike):
        return [text_of(paths)]
    if not isinstance(paths, Iterable) or hasattr(paths, "shape"):
        raise _no_path(paths)
    return [text_of(path) for path in paths]


def text_of(path: object) -> str:
    """Return a path as text.

    Raises:
        ArgumentError: the value is not a path.
    """
    if isinstance(path, str | bytes | os.PathLike):
        return os.fsdecode(path)
    raise _no_path(path)


def _no_path(value: object) -> ArgumentError:
    hint = "a picture that is no file is segmented by segmenter(picture), which has save(folder, name)"
    return ArgumentError(
        f"a path is a str or a pathlib.Path, not {type(value).__name__}",
        hint if hasattr(value, "shape") or hasattr(value, "read") or hasattr(value, "getpixel") else None,
    )


def kind_of(path: str | os.PathLike[str]) -> Found:
    """Return what is at `path`. It never raises."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return Found(_kind_of_missing(path, error), reason(error))
    except ValueError as error:
        # The name has a null byte or half of a surrogate pair. No file system allows such a name.
        return Found(Kind.UNKNOWN, f"not a name that a file can have: {error}")
    return Found(next((kind for fits, kind in _MODES if fits(mode)), Kind.UNKNOWN))


def expanded(path: str | os.PathLike[str]) -> str:
    """Replace `~` and `~user` by the home folder. If that home is not known, `path` is not changed."""
    text = os.fspath(path)
    try:
        return os.path.expanduser(text)
    except ValueError:
        return text


def expanded_unless_there(path: str | os.PathLike[str]) -> str:
    """Expand `path` unless it exists literally, as `~/a.jpg` does in a folder that is named `~`."""
    text = os.fspath(path)
    return text if os.path.lexists(text) else expanded(text)


def home_is_unknown(path: str | os.PathLike[str]) -> bool:
    """Whether `path` begins with a `~` whose home is not known: `~nobody/x`, or `~/x` without a home."""
    text = os.fspath(path)
    return text.startswith("~") and expanded(text) == text


def is_address(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a URL such as s3://bucket/x. As a path it would mean a folder called "s3:"."""
    return re.match("[A-Za-z][A-Za-z0-9+.-]+://", os.fspath(path)) is not None


def _kind_of_missing(path: str | os.PathLike[str], error: OSError) -> Kind:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        # os.path.islink never raises: it returns False on errors.
        return Kind.BROKEN_LINK if os.path.islink(path) else Kind.NOTHING
    return Kind.UNKNOWN


def real_path(path: str | os.PathLike[str]) -> str:
    """Return the absolute `path` with links resolved. A name that no file can have is not changed."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return os.fspath(path)
