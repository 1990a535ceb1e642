"""The wheel, installed where there is no torch, segments an image."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Built from a copy: setuptools leaves a build/ folder behind, and would pick up stale files from one.
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    for package in ("odise_trt", "reference", "export"):
        shutil.copytree(root / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", "."]
    subprocess.run(pip, cwd=source, check=True)
    return next((source / "dist").glob("odise_trt-*.whl"))


def test_the_wheel_holds_the_runtime_and_its_data_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"odise_trt"}
    assert "odise_trt/py.typed" in names
    assert any(name.startswith("odise_trt/vocabularies/coco") for name in names)


def test_the_wheel_segments_an_image_in_an_environment_without_torch(
    wheel: Path, root: Path, demo_bundle: Path, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "venv"], cwd=tmp_path, check=True)
    scripts = tmp_path / "venv" / "bin"
    pip = [scripts / "pip", "install", "--quiet", "-c", root / "constraints.txt", wheel]
    subprocess.run(pip, cwd=tmp_path, check=True)
    for absent in ("torch", "diffusers", "open_clip", "reference", "export"):
        probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({absent!r}) is not None)"
        subprocess.run([scripts / "python", "-c", probe], cwd=tmp_path, check=True)

    photo = root / "assets" / "photo.jpg"
    run = [scripts / "odise-trt", "run", photo, "--engines", demo_bundle, "--vocab", "cup; table"]
    subprocess.run([*run, "--output", "pictures"], cwd=tmp_path, check=True)

    written = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert written == {"photo.overlay.png", "photo.panoptic.png", "photo.json"}
    names = [
        row["name"] for row in json.loads((tmp_path / "pictures" / "photo.json").read_text())["categories"]
    ]
    assert names == ["cup", "table"]
