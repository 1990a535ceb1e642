"""The command that builds a bundle again. Messages about an unusable bundle show it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from ..backends.registry import BACKENDS
from .manifest import Manifest

#: The default of a build's option. It belongs to the toolkit, but is repeated here because the toolkit need
#: not be installed where a bundle is opened.
USUAL_OPSET = "21"
#: The stages that a build makes only if they are named. They belong to the toolkit as well.
OPTIONAL_STAGES = ("raw_features", "resize")
#: Entries among the tools of a manifest that are options of a build, and only there if they were given.
OPTIONS = ("max-windows", "image-sizes", "calibration", "modelopt-python")
#: The same for an option without a value: engines take their weights from graphs.
STRIP_WEIGHTS = "strip-weights"


def rebuild_command(
    folder: Path,
    manifest: Manifest,
    stages: Iterable[str] = (),
    *,
    same_gpus: bool = False,
    precision: str | None = None,
) -> str:
    """Return the command line. It runs in a checkout.

    Args:
        folder: the bundle. It is rebuilt in the same place if it has the name that the build gave it.
        stages: build only these stages.
        same_gpus: build for the same compute capabilities as before. Otherwise the engines are for the GPU
            at hand, or for any GPU.
        precision: build in this precision instead.
    """
    backend = manifest.backend
    options = [
        ("preset", manifest.preset),
        ("backend", str(backend["name"])),
        ("precision", precision or manifest.precision),
    ]
    if source := manifest.weights.get("source"):
        options.append(("weights", str(source)))
    chosen = tuple(stages)
    options += [("stage", stage) for stage in chosen]
    if not chosen:
        have = (entry.spec.name for entry in manifest.stages)
        options += [("with", stage) for stage in have if stage in OPTIONAL_STAGES]
    entry = BACKENDS.get(str(backend["name"]))
    usual = {
        "opset": USUAL_OPSET,
        **dict.fromkeys(OPTIONS, ""),
        **({"sampling": entry.sampling} if entry else {}),
    }
    for name, value in manifest.tools.items():
        # Stages of different builds give "21 and 22". The manifest does not say which value belongs to which.
        if value != usual.get(name, value) and " and " not in value:
            options.append((name, value))
    # Engines that are tied to a GPU name it, and a build detects the GPU by itself.
    if same_gpus and "gpu" not in backend:
        options += [("compute-capability", number) for number in backend.get("compute_capability") or ()]
    # The path is absolute: the command runs in a checkout, and the bundle may be named relative to elsewhere.
    options.append(("output", os.path.dirname(os.path.abspath(folder))))
    words = [word for name, value in options for word in (f"--{name}", value)]
    if STRIP_WEIGHTS in manifest.tools:
        words.append(f"--{STRIP_WEIGHTS}")
    words += [f"--{one}-compatible" for one in backend.get("compatible") or ()]
    return shlex.join(["python", "export/build_engines.py", *words])
