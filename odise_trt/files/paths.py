"""What is at a path, and what `~` means: questions that are always answered and never raise.

`Path.is_file`, `is_dir` and `exists` raise where a folder may not be entered, a name is too long or holds a
null byte, and `Path.expanduser` where a home is not known. A path that a person gave must not end a program
that way.
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
    """What can be at a path; the values are words for messages."""

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
        kind: what it is; links are followed.
        why: of NOTHING, BROKEN_LINK and UNKNOWN: the system's words, "Permission denied"; else "".
    """

    kind: Kind
    why: str = ""

    @property
    def is_file(self) -> bool:
        """A regular file, or a link to one."""
        return self.kind is Kind.FILE

    @property
    def is_folder(self) -> bool:
        """A folder, or a link to one."""
        return self.kind is Kind.FOLDER

    @property
    def is_there(self) -> bool:
        """Whether something is there: a broken link is not, nor what the system does not tell about."""
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
    """The paths as text; a single one is a list of one, and not of its letters.

    Raises:
        ArgumentError: they are no paths.
    """
    if isinstance(paths, str | bytes | os.PathLike):
        return [text_of(paths)]
    if not isinstance(paths, Iterable) or hasattr(paths, "shape"):
        raise _no_path(paths)
    return [text_of(path) for path in paths]


def text_of(path: object) -> str:
    """A path as text.

    Raises:
        ArgumentError: it is no path.
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
    """What is at `path`; never raises."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return Found(_kind_of_missing(path, error), reason(error))
    except ValueError as error:
        # A null byte, or half of a surrogate pair: no file system holds such a name.
        return Found(Kind.UNKNOWN, f"not a name that a file can have: {error}")
    return Found(next((kind for fits, kind in _MODES if fits(mode)), Kind.UNKNOWN))


def expanded(path: str | os.PathLike[str]) -> str:
    """`path` with `~` and `~user` replaced by the home folder; as it is where that home is not known."""
    text = os.fspath(path)
    try:
        return os.path.expanduser(text)
    except ValueError:
        return text


def expanded_unless_there(path: str | os.PathLike[str]) -> str:
    """As `expanded`, of what may have been found already: `~/a.jpg` in a folder of the name `~` stays it."""
    text = os.fspath(path)
    return text if os.path.lexists(text) else expanded(text)


def home_is_unknown(path: str | os.PathLike[str]) -> bool:
    """Whether `path` begins with a `~` that is nobody's home: `~nobody/x`, or `~/x` without a home."""
    text = os.fspath(path)
    return text.startswith("~") and expanded(text) == text


def is_address(path: str | os.PathLike[str]) -> bool:
    """Whether it is an address as s3://bucket/x: as a path it would be a folder called "s3:"."""
    return re.match("[A-Za-z][A-Za-z0-9+.-]+://", os.fspath(path)) is not None


def _kind_of_missing(path: str | os.PathLike[str], error: OSError) -> Kind:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        # os.path.islink hides all errors.
        return Kind.BROKEN_LINK if os.path.islink(path) else Kind.NOTHING
    return Kind.UNKNOWN


def real_path(path: str | os.PathLike[str]) -> str:
    """`path` from the root, links resolved; as it is where no file can have that name."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return os.fspath(path)
