"""The folder of downloaded and converted weights on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from odise_trt.errors import WeightsError
from odise_trt.table_cache import ENVIRONMENT, from_home

_WEIGHTS = "weights"
#: Presets whose weights are published.
PUBLISHED = ("odise-label", "odise-caption")


def weights_folder() -> Path:
    """Return the folder that published files are fetched into; it need not exist.

    It is `$ODISE_CACHE/weights` if that variable is set, otherwise `odise-trt/weights` in the user's cache
    folder (`$XDG_CACHE_HOME`, or `~/.cache`).

    Raises:
        OutputError: a path begins with a `~` whose home is not known.
    """
    if cache := os.environ.get(ENVIRONMENT):
        return from_home(cache, ENVIRONMENT) / _WEIGHTS
    user = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification says that a relative path is to be ignored.
    folder = user if user.is_absolute() else from_home("~/.cache", "the user's cache folder")
    return folder / "odise-trt" / _WEIGHTS


def official_file(preset: str) -> Path:
    """Return where the converted file of a published preset lies, whether it is there or not.

    Raises:
        WeightsError: no weights of that preset are published.
        OutputError: see `weights_folder`.
    """
    if preset not in PUBLISHED:
        raise WeightsError(
            f"no weights of preset {preset!r} are published", f"use --preset {' or '.join(PUBLISHED)}"
        )
    return weights_folder() / f"{preset}.safetensors"
