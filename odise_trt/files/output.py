"""The folder of results. It is checked before work begins."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..errors import OutputError, reason
from .paths import expanded, text_of
from .temporary import clear_leftovers, temporary_name
from .writing import ELSEWHERE, hint_of_output


def prepare_folder(folder: str | os.PathLike[str]) -> Path:
    """Make `folder` if needed and write a byte there. Call it before long work whose result goes there.

    Raises:
        OutputError: it is not a folder, cannot be made, or cannot be written to.
    """
    path = named_folder(folder)
    probe = path / temporary_name()
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Permissions are not enough. Read-only and full file systems fail only when a byte is written.
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
    """Return the folder of a name. In text, `~` is the home folder.

    Raises:
        ArgumentError: the name is not a path.
        OutputError: the name is empty. This is taken as a mistake, not as the working folder.
    """
    text = text_of(folder)
    if not text:
        raise OutputError("the name of the folder for the results is empty", "'.' is the working folder")
    return Path(text if isinstance(folder, os.PathLike) else expanded(text))
