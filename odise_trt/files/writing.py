"""The writer of the product. A file appears whole or not at all, and system errors become an OutputError.

Content is written to a temporary file beside its place, flushed to the disk, and renamed. A concurrent reader
sees the old file or the new one. A killed process leaves a temporary file, which the next writer in that
folder removes.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import OutputError, hint_for, reason
from .paths import kind_of
from .temporary import clear_leftovers, temporary_name

#: Returns what to do about an error of the operating system, or None.
Hint = Callable[[OSError], str | None]

#: The hint if the place of results is the cause.
ELSEWHERE = "choose another folder with --output"
#: Error numbers that concern the file name, not the place.
_NAME_REFUSED = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
# Error numbers for a file that must not be replaced, although other files can be written to the folder.
_KEPT = (errno.EPERM, errno.EACCES, errno.EBUSY, errno.ETXTBSY)

# Folders already cleared. Looking for leftovers at every write would list a folder of 100,000 files 100,000
# times.
_cleared: set[Path] = set()


@contextmanager
def writing(path: str | os.PathLike[str], hint: Hint = hint_for) -> Iterator[None]:
    """Turn errors of the operating system in the block into an OutputError about `path`.

    Blocks can be nested. The error names the path of the outermost block, for example the bundle or
    checkpoint. A file in a temporary folder would mean nothing to the user.

    Args:
        hint: returns what to do about the error. The default looks only at the cause.

    Raises:
        OutputError: the disk is full, `path` may not be written, and the like.
    """
    try:
        yield
    except OSError as error:
        raise _refused(path, error, hint) from error
    except OutputError as error:
        if error.refused is None:
            raise
        raise _refused(path, error.refused, hint) from error.refused


@contextmanager
def unfinished(path: Path, hint: Hint = hint_for) -> Iterator[Path]:
    """Give the path of a temporary file, which becomes `path` if the block ends without an error.

    It is for libraries that open files by name. The file exists and is empty. Missing folders are made.

    Raises:
        OutputError: the file cannot be written. An older `path` stays as it was.
    """
    temporary = path.with_name(temporary_name())
    with writing(path, hint):
        try:
            _make_folder(path.parent, hint)
            with temporary.open("xb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            yield temporary
            # Some libraries replace the file by their own, which only its owner may read.
            if stat.S_IMODE(temporary.stat().st_mode) != mode:
                temporary.chmod(mode)
            put_in_place(temporary, path)
            _clear_once(path)
        finally:
            with suppress(OSError):
                temporary.unlink()


@contextmanager
def replacing(path: Path, hint: Hint = hint_for) -> Iterator[BinaryIO]:
    """Give a file to write, which becomes `path` if the block ends without an error.

    If several writers write one path, the last one wins.

    Raises:
        OutputError: the file cannot be written. An older `path` stays as it was.
    """
    with unfinished(path, hint) as temporary, temporary.open("r+b") as file:
        yield file


def write_file(path: Path, content: bytes | memoryview, hint: Hint = hint_for) -> None:
    """Write a file, or replace it.

    Raises:
        OutputError: the file cannot be written. An older `path` stays as it was.
    """
    with replacing(path, hint) as file:
        file.write(content)


@contextmanager
def unfinished_folder(place: Path) -> Iterator[Path]:
    """Make a temporary folder in the folder `place`, and remove it when the block ends.

    `put_in_place` moves finished files out of it.

    Raises:
        OSError: the folder cannot be made.
    """
    temporary = place / temporary_name()
    try:
        temporary.mkdir(parents=True)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(source: Path, target: Path) -> None:
    """Flush a finished file or folder to the disk, then give it its name.

    A file replaces an older one. A folder does not.

    Raises:
        OSError: the disk is full, or `target` may not be replaced.
    """
    flush(source)
    source.replace(target)


def write_together(
    folder: Path, contents: Mapping[str, bytes], keep: Callable[[Path], None] | None = None
) -> tuple[Path, ...]:
    """Write files that belong together. No file gets its name before all are on disk.

    Args:
        folder: where the files go. It is made if it does not exist.
        contents: file name -> content. Files get their names in this order.
        keep: is called with each existing file, and raises if that file must stay. None: all are replaced.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    for name in contents:
        _check_name(name)
    temporaries = {folder / name: folder / temporary_name() for name in contents}
    try:
        with writing(folder, hint_of_output):
            _make_folder(folder, lambda _: ELSEWHERE)
            for path in temporaries:
                _check_way(path, keep)
        for (path, temporary), content in zip(temporaries.items(), contents.values(), strict=True):
            with writing(path, hint_of_output):
                temporary.write_bytes(content)
                flush(temporary)
        for path, temporary in temporaries.items():
            with writing(path, hint_of_output):
                _give_name(temporary, path, keep)
                _clear_once(path)
    finally:
        for temporary in temporaries.values():
            with suppress(OSError):
                temporary.unlink()
    return tuple(temporaries)


def is_of_one_file(error: OSError) -> bool:
    """Whether the error concerns one file or its name only, so that another file could be written."""
    return error.errno in (*_NAME_REFUSED, errno.EFBIG) or _is_kept(error)


def _refused(path: str | os.PathLike[str], error: OSError, hint: Hint) -> OutputError:
    made = OutputError(f"{os.fsdecode(path)} cannot be written: {reason(error)}", hint(error))
    made.refused = error
    return made


def _make_folder(folder: Path, hint: Hint) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{folder} is not a folder", hint(error)) from error


def flush(path: Path) -> None:
    """Wait until a file, or every file of a folder, is on the disk.

    Raises:
        OSError: for example, the disk is full.
    """
    files = [path]
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file() and not file.is_symlink()]
    for file in files:
        try:
            descriptor = os.open(file, os.O_RDONLY)
        except PermissionError:  # a link to another user's file
            continue
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _clear_once(path: Path) -> None:
    if path.parent not in _cleared:
        _cleared.add(path.parent)
        clear_leftovers(path.parent, path.stat().st_mtime)


def _is_kept(error: OSError) -> bool:
    # An error with two names comes from a rename. The content was written, but the existing file stays.
    return error.errno in _KEPT and error.filename2 is not None


def hint_of_output(error: OSError) -> str:
    """Return what to do if the place of results cannot be written to: a hint by cause, or `--output`."""
    if error.errno in _NAME_REFUSED:
        return f"the place does not take this name: give a shorter or plainer one, or {ELSEWHERE}"
    if error.errno == errno.EFBIG:
        return f"raise the limit on the size of files (ulimit -f), or {ELSEWHERE}"
    if _is_kept(error):
        return f"the file there may not be replaced: remove it, or {ELSEWHERE}"
    hint = hint_for(error)
    if hint is not None and error.errno in (errno.EACCES, errno.EPERM):
        return f"{hint}, or {ELSEWHERE}"
    return (hint or ELSEWHERE).replace("another place", "another place with --output")


def _check_name(name: str) -> None:
    # The separators are those of this system. On Linux a backslash is an ordinary letter.
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
            # Unlike a rename, a link fails if another process made the file first.
            os.link(temporary, path)
            return
        except FileExistsError:
            keep(path)
        except OSError:  # a file system without hard links
            _check_way(path, keep)
    temporary.replace(path)
