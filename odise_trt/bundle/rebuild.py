"""The command that builds a bundle again, for messages about one that cannot be used."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from .manifest import Manifest

#: What a build takes where its options say nothing. Written down here because the toolkit, which decides it,
#: need not be installed where a bundle is opened.
USUAL_TOOLS = {"opset": "21", "sampling": "gather"}


def rebuild_command(
    folder: Path, manifest: Manifest, stages: Iterable[str] = (), *, same_gpus: bool = False
) -> str:
    """The command line, to be run in a checkout.

    Args:
        folder: the bundle. It is built in the same place if it has the name that the build gave it.
        stages: build only these.
        same_gpus: for the compute capabilities that were given when it was built. Without it the engines
            are for the GPU at hand, or for any.
    """
    backend = manifest.backend
    options = [
        ("preset", manifest.preset),
        ("backend", str(backend["name"])),
        ("precision", manifest.precision),
    ]
    if source := manifest.weights.get("source"):
        options.append(("weights", str(source)))
    options += [("stage", stage) for stage in stages]
    for name, usual in USUAL_TOOLS.items():
        value = manifest.tools.get(name, usual)
        # Stages of different builds: "21 and 22", and which is whose was not written down.
        if value != usual and " and " not in value:
            options.append((name, value))
    # Engines that are tied to a GPU name it, and a build finds that out by itself.
    if same_gpus and "gpu" not in backend:
        options += [("compute-capability", number) for number in backend.get("compute_capability") or ()]
    # Absolute: the command runs in a checkout, and the bundle was named from anywhere.
    options.append(("output", os.path.dirname(os.path.abspath(folder))))
    words = [word for name, value in options for word in (f"--{name}", value)]
    return shlex.join(["python", "export/build_engines.py", *words])
