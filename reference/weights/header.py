"""What the header of a weights file states, read without its tensors."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reference.weights.stream import CONTENT, SAMPLE, SAMPLED

#: Most bytes of a header that are read. The header of a full model has about 300 kB.
_MOST = 16 * 2**20
_METADATA = "__metadata__"
_SD_VERSION = "sd_version"
_HASH = re.compile(r"[0-9a-f]{64}")
#: What damaged headers raise.
_ERRORS = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


def sd_version(path: Path) -> str | None:
    """Return the version of the Stable Diffusion in a weights file, as its converter recorded it.

    None: the header does not say it, or the file cannot be read. Reading the weights reports why.
    """
    try:
        version = _read(path)[0][_METADATA][_SD_VERSION]
    except _ERRORS:
        return None
    return version if isinstance(version, str) and version else None


def content_sha256(path: Path) -> str | None:
    """Return the hash of all tensors that `odise-trt convert` recorded.

    Of each tensor, the beginning is read and compared with a second hash in the header. So other tensors that
    a tool has saved with the old header are noticed. Damage behind the beginnings is not.

    None: the header does not say it, the tensors are others, or the file cannot be read.
    """
    try:
        header, begin = _read(path)
        texts = header.pop(_METADATA)
        found, sample = texts[CONTENT], texts[SAMPLE]
        if _HASH.fullmatch(found) and sample == _sample(path, header, begin):
            return str(found)
    except _ERRORS:
        pass
    return None


def _read(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header, and where the tensors begin."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _MOST:
            raise ValueError(f"the header claims {length} bytes")
        return json.loads(file.read(length)), 8 + length


def _sample(path: Path, tensors: Mapping[str, Any], begin: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for first, end in sorted(tensor["data_offsets"] for tensor in tensors.values()):
            file.seek(begin + first)
            digest.update(file.read(min(SAMPLED, end - first)))
    return digest.hexdigest()
