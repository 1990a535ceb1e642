"""The files for the viewer on disk, all stages together or none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from odise_trt.errors import OutputError
from odise_trt.files.output import prepare_folder
from odise_trt.files.writing import write_together

from .viewer_form import StageProfile


def names_of(stage: str) -> tuple[str, str]:
    """Return the names of a stage's two files."""
    return f"layers_{stage}.json", f"profile_{stage}.json"


def check_folder(folder: Path) -> None:
    """Raise OutputError unless files can be written to a folder. Call it before the measurement."""
    prepare_folder(folder)
    for pattern in names_of("*"):
        for path in folder.glob(pattern):
            _keep_others(path)


def write_profiles(folder: Path, profiles: Mapping[str, StageProfile]) -> tuple[Path, ...]:
    """Write the layers and the times of every stage. Older files of this benchmark are replaced.

    Raises:
        OutputError: they cannot be written, or a file of another kind has one of the names.
    """
    contents: dict[str, bytes] = {}
    for stage, profile in profiles.items():
        layers, times = names_of(stage)
        contents |= {layers: profile.layers_json(), times: profile.profile_json()}
    return write_together(folder, contents, keep=_keep_others)


def _keep_others(path: Path) -> None:
    try:
        there = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        there = None
    is_layers = isinstance(there, dict) and "Layers" in there
    is_profile = (
        isinstance(there, list) and bool(there) and isinstance(there[0], dict) and "count" in there[0]
    )
    if not is_layers and not is_profile:
        raise OutputError(
            f"{path} is no file of layers or of their times", "move it away, or give another --output"
        )
