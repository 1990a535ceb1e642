"""Where downloaded and converted weights lie."""

from __future__ import annotations

import os
from pathlib import Path

from odise_trt.errors import WeightsError
from odise_trt.files.cache import ENVIRONMENT
from odise_trt.files.paths import expanded, home_is_unknown

#: Name of the folder in `$ODISE_CACHE`, or in the user's folder for caches.
WEIGHTS = "weights"
#: Presets whose weights are published.
PUBLISHED = ("odise-label", "odise-caption")


def weights_folder() -> Path:
    """Return `$ODISE_CACHE/weights`, or `odise-trt/weights` in the user's folder for caches.

    Raises:
        WeightsError: neither variable is set, and no home folder is known.
    """
    if own := os.environ.get(ENVIRONMENT):
        return Path(expanded(own)) / WEIGHTS
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    if home_is_unknown(caches):
        raise WeightsError("no home folder is known for weights", f"set {ENVIRONMENT} to a folder")
    return Path(expanded(caches)) / "odise-trt" / WEIGHTS


def official_file(preset: str) -> Path:
    """Return where the converted file of a published preset lies, whether it is there or not.

    Raises:
        WeightsError: no weights of that preset are published.
    """
    if preset not in PUBLISHED:
        raise WeightsError(
            f"no weights of preset {preset!r} are published", f"use --preset {' or '.join(PUBLISHED)}"
        )
    return weights_folder() / f"{preset}.safetensors"
