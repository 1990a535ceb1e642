"""Names and shapes of every parameter of the official models."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "keys"


@cache
def official_keys(preset: str) -> dict[str, Any]:
    """What the official model of a preset has.

    Returns:
        "trainable_checkpoint" and "frozen": name -> shape; "param_counts": part -> number of parameters.
    """
    return json.loads(gzip.decompress((_FOLDER / f"{preset.replace('-', '_')}.json.gz").read_bytes()))
