"""The doctor looks at the machine itself."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from odise_trt.backends import BACKENDS
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
