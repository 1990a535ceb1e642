"""The metadata of the distribution: one version, and extras that fit together."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import odise_trt
from odise_trt.cli.boundary import message_of
from odise_trt.package_versions import package_version

TOOLKIT = ("export", "train", "eval")


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def packages(project: dict[str, Any], extra: str) -> set[str]:
    """The distributions that an extra brings, those of the extras it is made of included."""
    found: set[str] = set()
    for line in project["optional-dependencies"][extra]:
        requirement = Requirement(line)
        if requirement.name == "odise-trt":
            found.update(*(packages(project, inner) for inner in requirement.extras))
        else:
            found.add(requirement.name)
    return found


def test_the_version_stands_in_one_place(root: Path, project: dict[str, Any]) -> None:
    assert "version" not in project
    assert metadata.version("odise-trt") == odise_trt.__version__
    for name in ("setup.py", "pyproject.toml", "CITATION.cff"):
        assert odise_trt.__version__ not in (root / name).read_text(encoding="utf-8")


def test_the_changelog_has_the_version(root: Path) -> None:
    headings = re.findall(r"^## (.+)$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert any(heading.split()[0] == odise_trt.__version__ for heading in headings)


def test_no_extra_but_cpu_and_cuda_brings_an_onnxruntime(project: dict[str, Any]) -> None:
    # The two packages overwrite each other, so nothing else may choose one.
    base = {Requirement(line).name for line in project["dependencies"]}
    assert not {"onnxruntime", "onnxruntime-gpu"} & base
    bringing = {
        extra: packages(project, extra) & {"onnxruntime", "onnxruntime-gpu"}
        for extra in project["optional-dependencies"]
    }
    assert {extra: names for extra, names in bringing.items() if names} == {
        "cpu": {"onnxruntime"},
        "cuda": {"onnxruntime-gpu"},
    }


def test_each_tensorrt_comes_with_the_bindings_of_its_cuda(project: dict[str, Any]) -> None:
    for cuda, extra in (("12", "trt10-cu12"), ("13", "trt11-cu13")):
        requirements = {
            Requirement(line).name: Requirement(line) for line in project["optional-dependencies"][extra]
        }
        assert f"tensorrt-cu{cuda}" in requirements
        assert requirements["cuda-python"].specifier.contains(f"{cuda}.9.0")


@pytest.mark.parametrize("extra", TOOLKIT)
def test_each_extra_of_the_toolkit_exports_too(project: dict[str, Any], extra: str) -> None:
    assert packages(project, extra) >= packages(project, "export")


def test_constraints_pin_what_make_installs(root: Path, project: dict[str, Any]) -> None:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {
        re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines if not line.startswith("#")
    }
    installed = re.search(r'-e "\.\[(.+)\]"', (root / "Makefile").read_text(encoding="utf-8"))
    assert installed is not None
    for extra in installed[1].split(","):
        wanted = {re.sub(r"[-_.]+", "-", name).lower() for name in packages(project, extra)}
        assert wanted <= pinned, extra


def test_the_onnxruntime_of_gpus_counts_as_onnxruntime(tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "onnxruntime_gpu-1.31.1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.31.1\n")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert package_version("onnxruntime") == "1.31.1"
    with pytest.raises(metadata.PackageNotFoundError, match="numpy"):
        package_version("numpy")


def test_a_missing_onnxruntime_is_named_with_the_extra_for_cpus(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(metadata.PackageNotFoundError, match=r"onnxruntime$"):
        package_version("onnxruntime")
    monkeypatch.undo()
    assert '".[cpu]"' in message_of(ModuleNotFoundError("", name="onnxruntime"))


def test_the_hint_brings_onnxruntime_where_there_is_none(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert '".[cpu,export]"' in message_of(ModuleNotFoundError("", name="torch"))


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True)


def test_a_large_file_is_kept_out_of_a_commit(root: Path, tmp_path: Path) -> None:
    hook = [root / ".ci" / "large-files"]
    git(tmp_path, "init")
    (tmp_path / "small file.bin").write_bytes(bytes(2**20))
    git(tmp_path, "add", ".")
    assert subprocess.run(hook, cwd=tmp_path, check=False).returncode == 0

    (tmp_path / "large file.bin").write_bytes(bytes(2**20 + 1))
    git(tmp_path, "add", ".")
    done = subprocess.run(hook, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "large file.bin" in done.stdout
    assert "small file.bin" not in done.stdout
    assert "SKIP=large-files" in done.stdout
