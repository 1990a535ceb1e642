"""What a quantized build needs: options, pictures, and ModelOpt."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from odise_trt.bundle.bundle import sha256_of
from odise_trt.errors import ExportError
from odise_trt.files.inputs import find_images
from odise_trt.files.writing import writing
from odise_trt.stage_spec import QUANTIZED

from ..stages import all_stages
from . import program

#: Names of the options, which a manifest records, so that a bundle can say how it is built again.
CALIBRATION, MODELOPT = "calibration", "modelopt-python"


@dataclass(frozen=True)
class Quantizing:
    """How stages are quantized.

    Attributes:
        python: the interpreter of ModelOpt's environment.
        folder: the calibration pictures as they were given.
        pictures: the files.
        digest: SHA-256 of what is in them, in order.
        versions: package -> version in ModelOpt's environment, as pairs.
    """

    python: Path
    folder: Path
    pictures: tuple[Path, ...]
    digest: str
    versions: tuple[tuple[str, str], ...]

    def facts(self) -> dict[str, object]:
        """Return what decides the graph of a quantized stage, for its key."""
        return {"pictures": self.digest, "versions": dict(self.versions)}

    def options(self) -> dict[str, str]:
        """Return the options of the build, for its manifest."""
        return {CALIBRATION: str(self.folder), MODELOPT: str(self.python)}


def check_options(
    precisions: Iterable[str], stages: Iterable[str], calibration: Path | None, python: Path | None
) -> None:
    """Raise ExportError unless a build has the options that it needs, and no others.

    Args:
        precisions: of its bundles.
        stages: the requested ones.
        calibration, python: the options.
    """
    precisions, known = tuple(precisions), all_stages()
    given = {f"--{CALIBRATION}": calibration, f"--{MODELOPT}": python}
    quantized = [precision for precision in precisions if precision in QUANTIZED]
    if not quantized or not any(known[name].quantized for name in stages):
        for option, value in given.items():
            if value is not None:
                what = ", ".join(precisions) if not quantized else "these stages"
                raise ExportError(f"{option} does nothing for {what}", "leave it out")
        return
    if calibration is None:
        raise ExportError(
            f"{quantized[0]} needs pictures to measure the ranges of layers on",
            f"give --{CALIBRATION} DIR, a folder with some of your own pictures: 8 are enough",
        )
    if python is None:
        raise ExportError(
            f"{quantized[0]} needs NVIDIA ModelOpt, in an environment of its own",
            f"give --{MODELOPT} PYTHON; {program.how_to_install()}",
        )


def plan_quantizing(
    precision: str, stages: Iterable[str], calibration: Path | None, python: Path | None
) -> Quantizing | None:
    """Find the calibration pictures and ModelOpt. None: nothing is quantized.

    Raises:
        ExportError: the folder is none, or ModelOpt is not as it has to be.
        ImageError: the folder has no pictures.
        OutputError: a picture cannot be read.
    """
    known = all_stages()
    if precision not in QUANTIZED or not any(known[name].quantized for name in stages):
        return None
    if calibration is None or python is None:
        check_options([precision], stages, calibration, python)
        raise AssertionError("check_options refuses this")
    if not calibration.is_dir():
        raise ExportError(f"--{CALIBRATION} {calibration} is no folder", "give a folder with pictures")
    pictures = tuple(find_images([calibration]))
    digest = hashlib.sha256()
    for picture in pictures:
        with writing(picture):
            digest.update(f"{sha256_of(picture)}\n".encode())
    versions = program.find_versions(python)
    return Quantizing(
        python.absolute(), calibration.absolute(), pictures, digest.hexdigest(), tuple(versions.items())
    )
