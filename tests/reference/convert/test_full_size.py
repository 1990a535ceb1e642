"""The paper's model at its full size: what a conversion and a load take."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reference.convert.expected import Expected, Part
from reference.preset import ODISE_LABEL
from reference.weights.official_names import CLIP, SCHEDULE
from reference.weights.random import fill
from tests.reference.foreign.official_files import write_lightning, write_release, write_torchscript

#: Bytes of memory that a machine of 8 GB can give.
LIMIT = 8 * 10**9
PEAK = "import resource; print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"

CONVERT = """
from pathlib import Path
from reference.convert.convert import Inputs, convert
folder = Path({folder!r})
inputs = Inputs(folder / "odise.pth", folder / "sd.ckpt", folder / "clip.pt")
made = convert("odise-label", inputs, folder / "odise-label.safetensors", accepted=("sd-unverified",))
assert (made.tensors, made.versions["clip"]) == (1990, "clip-openai"), made
"""
LOAD = """
from reference.checkpoint import describe_weights, load_weights
place = {folder!r} + "/odise-label.safetensors"
assert describe_weights("odise-label", place)["sha256"]
model = load_weights("odise-label", place)
assert sum(p.numel() for p in model.parameters()) > 1.5e9
"""


def seeded(
    expected: Expected, parts: tuple[Part, ...], prefix: str, half: bool = False
) -> Mapping[str, Tensor]:
    tensors = {}
    for part in parts:
        for name, wanted in expected.parts[part].items():
            tensor = torch.empty(wanted.shape)
            fill(name, tensor, 0)
            tensors[name.removeprefix(prefix)] = tensor.half() if half else tensor
    return tensors


def peak_of(code: str, root: Path) -> int:
    """Run code in a process of its own, and return its largest memory in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", code + PEAK], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.slow
def test_the_paper_s_model_converts_and_loads_on_a_machine_of_8_gb(root: Path, tmp_path: Path) -> None:
    expected = Expected.of(ODISE_LABEL)
    write_release(tmp_path / "odise.pth", seeded(expected, ("odise",), ""))
    constants = {n.removeprefix(f"{SCHEDULE}."): t for n, t in expected.constants.items()}
    frozen = seeded(expected, ("unet", "vae", "text"), f"{SCHEDULE}.")
    write_lightning(tmp_path / "sd.ckpt", {**frozen, **constants})
    del frozen
    write_torchscript(tmp_path / "clip.pt", seeded(expected, ("clip",), f"{CLIP}.", half=True))
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes["sd.ckpt"] > 4.2e9
    assert peak_of(CONVERT.format(folder=str(tmp_path)), root) < LIMIT
    for name in sizes:
        (tmp_path / name).unlink()
    assert peak_of(LOAD.format(folder=str(tmp_path)), root) < LIMIT
