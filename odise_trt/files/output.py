"""The folder of results: it is tried before work begins."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..errors import OutputError, reason
from .paths import expanded, text_of
from .temporary import clear_leftovers, temporary_name
from .writing import ELSEWHERE, hint_of_output


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
        raise OutputError(f"{folder} is not a folder", ELSEWHERE) from error
    except OSError as error:
        raise OutputError(f"{folder} cannot be written to: {reason(error)}", hint_of_output(error)) from error
    except ValueError as error:
        raise OutputError(
            f"{str(folder)!r} is not a name that a folder can have: {error}", ELSEWHERE
        ) from error
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
