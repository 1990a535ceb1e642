"""open_clip and diffusers where torchvision's compiled part cannot load."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# What a torchvision built for another torch does.
BROKEN = """
import torch
load_library = torch.ops.load_library
def refuse(path):
    if "torchvision" in str(path):
        raise OSError("undefined symbol")
    load_library(path)
torch.ops.load_library = refuse
"""
DECLARED = """
import reference.torchvision_free, torch
print(bool(torch._C._jit_get_schemas_for_operator("torchvision::nms")))
"""


def python(code: str, root: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"PYTHONPATH": str(path)} if path is not None else {})
    return subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_model_imports_with_a_torchvision_that_cannot_load(root):
    pytest.importorskip("diffusers")
    unaided = python(BROKEN + "import torchvision", root)
    assert "torchvision::nms" in unaided.stderr, "the breakage this module works around is gone"
    aided = python(BROKEN + "import reference.model.clip, reference.model.diffusion", root)
    assert aided.returncode == 0, aided.stderr


@pytest.mark.parametrize("loads", [True, False])
def test_operators_are_declared_only_if_the_compiled_part_does_not_load(root, tmp_path, loads):
    # A stand-in for torchvision whose compiled part is some library, or none at all.
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").touch()
    if loads:
        import _ctypes

        shutil.copy(_ctypes.__file__, package / "_C.so")
    else:
        (package / "_C.so").write_bytes(b"no library")
    result = python(DECLARED, root, tmp_path)
    assert result.stdout.strip() == str(not loads), result.stderr


def test_a_machine_without_torchvision_is_left_alone(root):
    hide = "import sys; sys.modules['torchvision'] = None\n"
    code = "import importlib.util as u; u.find_spec = lambda name: None\n" + hide + DECLARED
    assert python(code, root).stdout.strip() == "False"
