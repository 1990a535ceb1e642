"""The folder of the published files on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from odise_trt.table_cache import ENVIRONMENT, from_home

_WEIGHTS = "weights"


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
