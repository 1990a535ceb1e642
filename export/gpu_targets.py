"""GPUs by the names that people know them by: `sm86,sm89,sm120`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from odise_trt.errors import ExportError

_NAME = re.compile(r"(?:sm_?)?(\d{1,2})\.?(\d)", re.IGNORECASE)


def capabilities_of(texts: Sequence[str]) -> tuple[str, ...]:
    """Return compute capabilities, in order and each once: `["sm86,sm120"]` is `("8.6", "12.0")`.

    Args:
        texts: names that are separated by commas, like `sm86`, `sm_86` or `8.6`.

    Raises:
        ExportError: a name is not that of an architecture.
    """
    names = [name.strip() for text in texts for name in text.split(",")]
    found = {name: _NAME.fullmatch(name) for name in names}
    if wrong := [name for name, match in found.items() if match is None]:
        raise ExportError(
            f"--target {', '.join(map(repr, wrong))} is not the name of a GPU architecture",
            "give names like sm86,sm89,sm120; `odise-trt doctor` prints the number of a GPU",
        )
    return tuple(dict.fromkeys(f"{match[1]}.{match[2]}" for match in found.values() if match is not None))
