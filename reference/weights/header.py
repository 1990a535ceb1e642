"""Entries in the header of a safetensors file, read without the file's tensors."""

from __future__ import annotations

import json
from pathlib import Path

#: Most bytes of a header that are read. The header of a full model has about 300 kB.
_MOST = 16 * 2**20
_SD_VERSION = "sd_version"


def sd_version(path: Path) -> str | None:
    """Return the version of the Stable Diffusion in a weights file, as its converter recorded it.

    None: the header does not say it, or the file cannot be read. Reading the weights reports why.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= _MOST else {}
        version = header["__metadata__"][_SD_VERSION]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return version if isinstance(version, str) and version else None
