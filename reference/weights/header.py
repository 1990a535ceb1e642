"""What the header of a weights file states, read without its tensors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from reference.weights.stream import CONTENT

#: Most bytes of a header that are read. The header of a full model has about 300 kB.
_MOST = 16 * 2**20
_SD_VERSION = "sd_version"
_HASH = re.compile(r"[0-9a-f]{64}")


def sd_version(path: Path) -> str | None:
    """Return the version of the Stable Diffusion in a weights file, as its converter recorded it.

    None: the header does not say it, or the file cannot be read. Reading the weights reports why.
    """
    return _texts(path).get(_SD_VERSION) or None


def content_sha256(path: Path) -> str | None:
    """Return the hash of all tensors that `odise-trt convert` recorded. The tensors are not read.

    None: the header does not say it, or the file cannot be read.
    """
    found = _texts(path).get(CONTENT, "")
    return found if _HASH.fullmatch(found) else None


def _texts(path: Path) -> Mapping[str, str]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= _MOST else {}
        texts = header["__metadata__"]
        return {key: text for key, text in texts.items() if isinstance(text, str)}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
