"""The key of a stage: a hash of everything that decides its files.

A stage whose key is the same as before is not built again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from odise_trt.bundle.manifest import FORMAT
from reference.preset import Preset

from .sources import source_digest
from .stages import all_stages
from .stages.image_sizes import ImageSize


def stage_key(
    name: str,
    preset: Preset,
    precision: str,
    build: Mapping[str, object],
    max_windows: int | None = None,
    images: Sequence[ImageSize] = (),
) -> str:
    """Return the key of a stage, a SHA-256.

    How many windows parity was checked with is not part of it: the files do not depend on that, and the
    comparisons of a stage are kept with it.

    Args:
        name: the stage.
        preset: every size of the model counts.
        precision: of the build.
        build: what every stage of the build depends on: weights, backend, versions of packages, options.
        max_windows, images: see `StageWrapper.spec`.
    """
    parts = key_parts(name, preset, precision, build, max_windows, images)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def key_parts(
    name: str,
    preset: Preset,
    precision: str,
    build: Mapping[str, object],
    max_windows: int | None = None,
    images: Sequence[ImageSize] = (),
) -> dict[str, object]:
    """Return everything that decides the files of a stage, as JSON. Arguments as for `stage_key`."""
    stage = all_stages()[name]
    computes_in = stage.computes_in(precision)
    return {
        **build,
        "format": FORMAT,
        "stage": name,
        "preset": asdict(preset),
        "precision": precision,
        "computes in": computes_in,
        "float32": stage.float32,
        "islands": stage.islands,
        "declaration": asdict(stage.spec(preset, computes_in, max_windows, images)),
        "source": source_digest(stage=name),
    }
