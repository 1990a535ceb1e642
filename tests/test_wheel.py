"""The wheel, installed where there is no torch, segments an image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.odise_trt import toy_bundle

TOOLKIT_VERBS = {
    "bench",
    "build",
    "check",
    "convert",
    "data",
    "debug",
    "download",
    "eval",
    "features",
    "finish",
    "scenes",
    "train",
    "train-demo",
}


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Built from a copy: setuptools leaves a build/ folder behind, and would pick up stale files from one.
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    for package in ("odise_trt", "reference", "export", "benchmarks"):
        shutil.copytree(root / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    # The setuptools at hand, which torch brings along: no network is needed.
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", "dist"]
    pip = [sys.executable, "-m", "pip", "wheel", *options, "."]
    subprocess.run(pip, cwd=source, check=True)
    return next((source / "dist").glob("odise_trt-*.whl"))


def test_the_wheel_holds_the_runtime_and_its_data_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"odise_trt"}
    assert "odise_trt/py.typed" in names
    assert any(name.startswith("odise_trt/vocabularies/coco") for name in names)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with the wheel and the packages at hand, but not the checkout."""
    place = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-index", "--target", place]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, wheel], check=True)
    # Python -S does not read the .pth files by which a checkout is installed; the packages are still found.
    packages = [folder for folder in sys.path if Path(folder).name == "site-packages"]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), *packages])}


def odise(environment: dict[str, str], cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-S", "-m", "odise_trt", *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_offers_no_verb_of_the_toolkit(installed: dict[str, str], tmp_path: Path) -> None:
    # Folders of the user's own that happen to have the names are not the toolkit.
    for package in ("export", "reference", "benchmarks"):
        (tmp_path / package).mkdir()
    done = odise(installed, tmp_path, "--help")
    assert done.returncode == 0, done.stderr
    verbs = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("│ ") and line[2] != " "}
    assert {"run", "vocab", "inspect", "doctor", "cache"} <= verbs
    assert not TOOLKIT_VERBS & verbs
    assert "Toolkit" not in done.stdout
    assert "cannot be loaded" not in done.stdout


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["build", "--preset", "demo"], "export"),
        (["eval", "--dataset", "coco"], "eval"),
        (["train", "--preset", "demo"], "train"),
        (["data", "list"], "export"),
    ],
)
def test_a_verb_of_the_toolkit_says_where_it_runs(
    words: list[str], extra: str, installed: dict[str, str], tmp_path: Path
) -> None:
    done = odise(installed, tmp_path, *words)
    assert done.returncode == 1
    assert "this command belongs to the toolkit" in done.stderr
    assert f'run it in a checkout of the repository, after pip install -e ".[{extra}]"' in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_a_wheel_without_onnxruntime_says_how_to_install_it(
    installed: dict[str, str], root: Path, tmp_path: Path
) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ModuleNotFoundError('No module named onnxruntime')")
    without = {**installed, "PYTHONPATH": f"{tmp_path}{os.pathsep}{installed['PYTHONPATH']}"}
    assert odise(without, tmp_path, "vocab", "coco").returncode == 0
    photo, toy = str(root / "assets" / "photo.jpg"), toy_bundle.make(tmp_path / "toy")
    done = odise(without, tmp_path, "run", photo, "--engines", str(toy), "--vocab", "cup")
    assert done.returncode == 1
    first, second = done.stderr.splitlines()[-2:]
    assert first.startswith("BackendError: backend onnxruntime is not installed")
    assert second.strip() == 'pip install "odise-trt[cpu]" (for GPUs: "odise-trt[cuda]")'


def needed(name: str, extras: set[str], path: list[str]) -> dict[str, metadata.Distribution]:
    """A distribution and what it declares to need, directly and indirectly, by name."""
    (distribution, *_) = metadata.distributions(name=name, path=path)
    found = {name: distribution}
    for line in distribution.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            found |= needed(requirement.name, requirement.extras, path)
    return found


@pytest.fixture(scope="module")
def alone(installed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with the wheel and what its metadata says that it needs, and nothing else."""
    path = installed["PYTHONPATH"].split(os.pathsep)
    place = tmp_path_factory.mktemp("alone")
    for distribution in needed("odise-trt", {"cpu"}, path).values():
        for name in {file.parts[0] for file in distribution.files or ()} - {"..", "bin", "__pycache__"}:
            if not (place / name).exists():
                (place / name).symlink_to(Path(str(distribution.locate_file(name))))
    return {**os.environ, "PYTHONPATH": str(place)}


ABSENT = ("torch", "diffusers", "open_clip", "reference", "export")
ABSENCE = f"import importlib.util as u, sys; sys.exit(any(u.find_spec(name) for name in {ABSENT}))"


def check_it_segments(command: list[str], environment: dict[str, str], cwd: Path, bundle: Path) -> None:
    photo = str(Path(__file__).parents[1] / "assets" / "photo.jpg")
    words = ["run", photo, "--engines", str(bundle), "--vocab", "cup; table", "--output", "pictures"]
    done = subprocess.run(
        [*command, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    written = {path.name for path in (cwd / "pictures").iterdir()}
    assert written == {"photo.overlay.png", "photo.panoptic.png", "photo.json"}
    data = json.loads((cwd / "pictures" / "photo.json").read_text())
    assert [row["name"] for row in data["categories"]] == ["cup", "table"]


def test_the_wheel_segments_an_image_with_what_it_declares_and_without_torch(
    alone: dict[str, str], demo_bundle: Path, tmp_path: Path
) -> None:
    python = [sys.executable, "-S"]
    subprocess.run([*python, "-c", ABSENCE], cwd=tmp_path, env=alone, check=True)
    check_it_segments([*python, "-m", "odise_trt"], alone, tmp_path, demo_bundle)


@pytest.mark.slow
def test_the_wheel_that_pip_installs_with_its_packages_segments_an_image(
    wheel: Path, root: Path, demo_bundle: Path, tmp_path: Path
) -> None:
    """Needs a network."""
    subprocess.run([sys.executable, "-m", "venv", "venv"], cwd=tmp_path, check=True)
    scripts = tmp_path / "venv" / "bin"
    pip = [scripts / "pip", "install", "--quiet", "-c", root / "constraints.txt", f"{wheel}[cpu]"]
    subprocess.run(pip, cwd=tmp_path, check=True)
    subprocess.run([scripts / "python", "-c", ABSENCE], cwd=tmp_path, check=True)
    check_it_segments([str(scripts / "odise-trt")], dict(os.environ), tmp_path, demo_bundle)
