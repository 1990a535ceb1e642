"""Writing results: a place is tried before work begins, and files appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from .errors import OutputError

_HINT = "choose another folder with --output"


def prepare_folder(folder: str | os.PathLike[str]) -> Path:
    """Make `folder` if need be and write a byte there: to be called before long work whose result goes there.

    Raises:
        OutputError: it is something else than a folder, cannot be made, or cannot be written to.
    """
    path = Path(folder)
    probe = path / f".{uuid.uuid4().hex}.tmp"
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Permissions do not tell all: read-only and full file systems show only when a byte is written.
        probe.write_bytes(b"0")
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{folder} is not a folder", _HINT) from error
    except OSError as error:
        raise OutputError(f"{folder} cannot be written to: {error.strerror}", _HINT) from error
    finally:
        with suppress(OSError):
            probe.unlink()
    return path


def write_together(folder: Path, contents: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write files that belong together; none gets its name before all are on disk.

    Args:
        folder: where; made if need be.
        contents: file name -> content. Existing files of these names are replaced.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    for name in contents:
        if not name or name != os.path.basename(name) or "\\" in name or "\0" in name:
            raise OutputError(f"{name!r} is not a file name", "give a name without folders")
    current = folder
    unfinished = {folder / name: folder / f".{uuid.uuid4().hex}.tmp" for name in contents}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for (path, temporary), content in zip(unfinished.items(), contents.values(), strict=True):
            current = path
            if path.is_dir():
                raise OutputError(f"{path} cannot be written: it is a folder", "move it away")
            temporary.write_bytes(content)
        for path, temporary in unfinished.items():
            current = path
            temporary.replace(path)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{folder} is not a folder", _HINT) from error
    except OSError as error:
        raise OutputError(f"{current} cannot be written: {error.strerror}", _HINT) from error
    finally:
        for temporary in unfinished.values():
            with suppress(OSError):
                temporary.unlink()
    return tuple(unfinished)
