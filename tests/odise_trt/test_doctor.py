"""The doctor looks at the machine itself."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import onnxruntime
import pytest
from typer.testing import CliRunner

from odise_trt import nvidia_smi
from odise_trt.backends import BACKENDS
from odise_trt.cli import app
from odise_trt.doctor import Finding, examine, usable_backends


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    return {finding.name: finding for finding in examine()}


def test_versions_are_those_installed(findings: dict[str, Finding]) -> None:
    assert findings["onnxruntime"].detail.startswith(onnxruntime.__version__)
    assert findings["numpy"].detail == importlib.metadata.version("numpy")
    assert sys.version.split()[0] in findings["python"].detail


def test_every_backend_is_there_and_says_what_it_lacks(findings: dict[str, Finding]) -> None:
    for name in BACKENDS:
        finding = findings[name]
        assert finding.group == "backends"
        assert finding.found or finding.needs
    assert "onnxruntime" in usable_backends(list(findings.values()))


def test_onnxruntime_lists_its_providers(findings: dict[str, Finding]) -> None:
    for provider in onnxruntime.get_available_providers():
        assert provider.removesuffix("ExecutionProvider") in findings["onnxruntime"].detail


def test_the_toolkit_is_looked_up_without_importing_torch() -> None:
    probe = "import sys; from odise_trt.doctor import examine; examine(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def fake_nvidia_smi(folder: Path, script: str) -> dict[str, str]:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_gpus_are_named_with_capability_memory_and_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "NVIDIA L4, 8.9, 23034 MiB, 580.65.06"
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, f"echo '{line}'; echo '{line}'")["PATH"])
    gpus = [finding for finding in examine() if finding.name.startswith("cuda:")]
    assert [gpu.name for gpu in gpus] == ["cuda:0", "cuda:1"]
    assert gpus[0].detail == "NVIDIA L4, compute capability 8.9, 23034 MiB, driver 580.65.06"


def test_a_driver_that_does_not_answer_is_reported_with_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver."
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, f"echo '{said}'; exit 9")["PATH"])
    (gpu,) = [finding for finding in examine() if finding.name == "NVIDIA GPU"]
    assert not gpu.found
    assert said in gpu.detail
    assert gpu.needs


ROW = "NVIDIA L4, 8.9, 23034 MiB, 580.65.06"
SHOWN = "NVIDIA L4, compute capability 8.9, 23034 MiB, driver 580.65.06"


@pytest.mark.parametrize(
    ("script", "gpus", "says"),
    [
        ("echo No devices were found", [], "No devices were found"),
        ("echo No devices were found; exit 6", [], "No devices were found"),
        ("true", [], "it printed nothing"),
        ("exit 3", [], "exit status 3"),
        (f"echo; echo '{ROW}'; echo", [SHOWN], ""),
        (f"echo 'WARNING: infoROM is corrupted at gpu 0000:00:1E.0'; echo '{ROW}'", [SHOWN], "infoROM"),
        (f"echo 'Warning, one, two, three'; echo '{ROW}'; echo '{ROW}'", [SHOWN, SHOWN], "Warning, one"),
        (f"echo '{ROW}'; echo 'Unable to determine the handle: GPU is lost'; exit 15", [SHOWN], "lost"),
        (f"echo warning >&2; echo '{ROW}'", [SHOWN], "warning"),
        (
            "echo 'Quadro, the old one, 7.5, 8192 MiB, 535.1'",
            ["Quadro, the old one, compute capability 7.5, 8192 MiB, driver 535.1"],
            "",
        ),
        (
            "printf 'GPU \\377 X, 8.6, 24576 MiB, 550.54\\n'",
            ["GPU \ufffd X, compute capability 8.6, 24576 MiB, driver 550.54"],
            "",
        ),
        (
            "echo 'NVIDIA GB10, 12.1, [N/A], 580.95'",
            ["NVIDIA GB10, compute capability 12.1, memory unknown, driver 580.95"],
            "",
        ),
        (
            "echo 'Tegra, [Not Supported], [Not Supported], [N/A]'",
            ["Tegra, compute capability unknown, memory unknown, driver unknown"],
            "",
        ),
        (
            (
                'case "$1" in *compute_cap*) echo "Field compute_cap is not a valid field"; exit 2;; esac;'
                " echo 'Tesla K80, 11441 MiB, 450.80.02'"
            ),
            ["Tesla K80, compute capability unknown, 11441 MiB, driver 450.80.02"],
            "",
        ),
        ("head -c 3000000 /dev/zero; exit 1", [], "nvidia-smi: "),
        ("yes", [], "nvidia-smi: y"),
        ("printf '\\000\\001\\377'", [], "nvidia-smi: "),
        ("exec /nowhere/at/all", [], "nvidia-smi: "),
    ],
)
def test_whatever_nvidia_smi_prints_is_a_finding(
    script: str, gpus: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, script)["PATH"])
    devices = [finding for finding in examine() if finding.group == "devices"]

    assert [finding.detail for finding in devices if finding.name.startswith("cuda:")] == gpus
    assert any(says in finding.detail for finding in devices)
    if not gpus:
        assert [finding.found for finding in devices if finding.name == "NVIDIA GPU"] == [False]


@pytest.mark.parametrize("script", ["sleep 60", "sleep 60 & wait", "trap '' TERM; sleep 60; sleep 60"])
def test_an_nvidia_smi_that_hangs_is_given_up(script: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(nvidia_smi, "_SECONDS", 0.3)
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, script)["PATH"])
    start = time.monotonic()
    answer = nvidia_smi.ask(str(nvidia_smi.find()))

    assert "no answer within" in answer.failure
    assert time.monotonic() - start < 5


def test_an_nvidia_smi_that_cannot_be_run_says_why(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_bytes(b"\x7fELF not a program")
    tool.chmod(0o755)
    assert "does not run: Exec format error" in nvidia_smi.ask(str(tool)).failure
    tool.chmod(0o644)
    assert "does not run: Permission denied" in nvidia_smi.ask(str(tool)).failure


def broken(*_: object, **__: object) -> NoReturn:
    raise ValueError("broken on purpose")


@pytest.mark.parametrize(
    "place",
    [
        "platform.platform",
        "platform.python_version",
        "os.cpu_count",
        "os.sysconf",
        "os.sched_getaffinity",
        "ctypes.util.find_library",
        "shutil.which",
        "subprocess.Popen",
        "importlib.metadata.version",
        "importlib.import_module",
        "pathlib.Path.read_text",
        "onnxruntime.get_available_providers",
    ],
)
def test_a_part_that_cannot_be_told_is_a_finding_and_the_others_go_on(place: str, monkeypatch) -> None:
    monkeypatch.setattr(place, broken)
    groups = {finding.group for finding in examine()}

    assert groups == {"system", "devices", "backends", "runtime", "toolkit"}


def test_damaged_metadata_is_told_from_a_package_that_is_not_installed(tmp_path: Path, monkeypatch) -> None:
    # The first of a name on the path counts.
    contents = {"numpy": b"", "typer": b"\xff\xfe\xff", "rich": b"Name: rich\nVersion: \xff\n"}
    for name, content in contents.items():
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_bytes(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = {finding.name: finding for finding in examine()}

    assert all(found[name].found for name in ("numpy", "typer", "rich"))
    assert "damaged" in found["numpy"].detail
    assert "numpy" in found["numpy"].needs


def test_a_backend_that_breaks_when_imported_is_reported_and_prints_nothing(tmp_path, monkeypatch) -> None:
    (tmp_path / "tensorrt.py").write_text("print('hello')\nraise SystemExit('no licence')\n")
    (tmp_path / "tensorrt_rtx.py").write_text("print('hello')\n__version__ = None\n")
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    result = CliRunner().invoke(app, ["doctor", "--json"])

    found = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert found["tensorrt"]["detail"] == "cannot be loaded (no licence)"
    assert not found["tensorrt_rtx"]["found"]


@pytest.mark.parametrize("cpuinfo", ["", "model name\n", "model name :\n", "model name\t: CPU: with colon\n"])
def test_odd_files_of_the_system_are_read_as_far_as_they_go(cpuinfo: str, monkeypatch) -> None:
    odd = cpuinfo + "MemAvailable: lots kB\nMemAvailable:\n"
    monkeypatch.setattr(Path, "read_text", lambda self, **_: odd)
    found = {finding.name: finding for finding in examine()}

    assert "processors usable" in found["processor"].detail
    assert ("CPU: with colon" in found["processor"].detail) == ("colon" in cpuinfo)
    assert "available" in found["memory"].detail


def test_doctor_prints_what_it_finds_in_words_and_as_json(tmp_path: Path, monkeypatch) -> None:
    row = "printf '[/bold] GPU [red]\\033[2J, 8.9, 1 MiB, 580.1\\n'"
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, row)["PATH"])
    printed = CliRunner().invoke(app, ["doctor"])
    assert printed.exit_code == 0
    assert r"[/bold] GPU [red]\x1b[2J" in printed.stdout
    rows = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert any(row["name"] == "cuda:0" for row in rows)
