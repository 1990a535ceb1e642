"""Writing results: a place is tried before work begins, and files appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from ..errors import OutputError, hint_for, reason
from .paths import expanded, kind_of, text_of
from .temporary import clear_leftovers, temporary_name

_HINT = "choose another folder with --output"
#: What the operating system says of a name, rather than of the place.
NAME_REFUSED = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
# What it says of a file that must not be replaced, in a place where others are written.
_KEPT = (errno.EPERM, errno.EACCES, errno.EBUSY, errno.ETXTBSY)


def prepare_folder(folder: str | os.PathLike[str]) -> Path:
    """Make `folder` if need be and write a byte there: to be called before long work whose result goes there.

    Raises:
        OutputError: it is something else than a folder, cannot be made, or cannot be written to.
    """
    path = named_folder(folder)
    probe = path / temporary_name()
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Permissions do not tell all: read-only and full file systems show only when a byte is written.
        probe.write_bytes(b"0")
        clear_leftovers(path, probe.stat().st_mtime)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{folder} is not a folder", _HINT) from error
    except OSError as error:
        raise OutputError(f"{folder} cannot be written to: {reason(error)}", _hint(error)) from error
    except ValueError as error:
        raise OutputError(f"{str(folder)!r} is not a name that a folder can have: {error}", _HINT) from error
    finally:
        with suppress(OSError, ValueError):
            probe.unlink()
    return path


def named_folder(folder: str | os.PathLike[str]) -> Path:
    """The folder of a name; in text, `~` is the home folder.

    Raises:
        ArgumentError: it is no path.
        OutputError: the name is empty: a mistake, and not the working folder.
    """
    text = text_of(folder)
    if not text:
        raise OutputError("the name of the folder for the results is empty", "'.' is the working folder")
    return Path(text if isinstance(folder, os.PathLike) else expanded(text))


def write_together(
    folder: Path, contents: Mapping[str, bytes], keep: Callable[[Path], None] | None = None
) -> tuple[Path, ...]:
    """Write files that belong together; none gets its name before all are on disk.

    Args:
        folder: where; made if need be.
        contents: file name -> content; files get their names in this order.
        keep: called with each file that is in the way, and raises if it has to stay; None: all are replaced.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    for name in contents:
        _check_name(name)
    current = folder
    unfinished = {folder / name: folder / temporary_name() for name in contents}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in unfinished:
            _check_way(path, keep)
        for (path, temporary), content in zip(unfinished.items(), contents.values(), strict=True):
            current = path
            temporary.write_bytes(content)
        for path, temporary in unfinished.items():
            current = path
            _give_name(temporary, path, keep)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{folder} is not a folder", _HINT) from error
    except OSError as error:
        raise OutputError(f"{current} cannot be written: {reason(error)}", _hint(error)) from error
    finally:
        for temporary in unfinished.values():
            with suppress(OSError):
                temporary.unlink()
    return tuple(unfinished)


def is_of_one_file(error: OSError) -> bool:
    """Whether the system refused one file or its name, and would take another in the same folder."""
    return error.errno in (*NAME_REFUSED, errno.EFBIG) or _is_kept(error)


def _is_kept(error: OSError) -> bool:
    # An error with two names is one of renaming: the content was written, and what is in the way stays.
    return error.errno in _KEPT and error.filename2 is not None


def _hint(error: OSError) -> str:
    if error.errno in NAME_REFUSED:
        return f"the place does not take this name: give a shorter or plainer one, or {_HINT}"
    if error.errno == errno.EFBIG:
        return f"raise the limit on the size of files (ulimit -f), or {_HINT}"
    if _is_kept(error):
        return f"the file there may not be replaced: remove it, or {_HINT}"
    hint = hint_for(error)
    if hint is not None and error.errno in (errno.EACCES, errno.EPERM):
        return f"{hint}, or {_HINT}"
    return (hint or _HINT).replace("another place", "another place with --output")


def _check_name(name: str) -> None:
    # What is a separator here: a backslash is a letter on Linux.
    if not name or name != os.path.basename(name) or "\0" in name:
        raise OutputError(f"{name!r} is not a file name", "give a name without folders")
    try:
        os.fsencode(name)
    except UnicodeEncodeError as error:
        raise OutputError(f"{name!r} is not a file name: {error.reason}", "give another name") from error


def _check_way(path: Path, keep: Callable[[Path], None] | None) -> None:
    if kind_of(path).is_folder:
        raise OutputError(f"{path} cannot be written: it is a folder", "move it away")
    if keep is not None and os.path.lexists(path):
        keep(path)


def _give_name(temporary: Path, path: Path, keep: Callable[[Path], None] | None) -> None:
    if keep is not None:
        try:
            # Unlike a rename, it fails if another process was quicker.
            os.link(temporary, path)
            return
        except FileExistsError:
            keep(path)
        except OSError:  # a file system without hard links
            _check_way(path, keep)
    temporary.replace(path)
