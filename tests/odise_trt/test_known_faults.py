"""Versions known to be bad: which ones they are, and that the doctor says so."""

from __future__ import annotations

import json
import re
from typing import Any

import onnxruntime
import pytest
from typer.testing import CliRunner

from odise_trt import doctor
from odise_trt.backends import BACKENDS
from odise_trt.cli import app
from odise_trt.known_faults import KNOWN_FAULTS, KnownFault, faults_of


def sources(package: str, version: str, *capabilities: str) -> list[str]:
    return [fault.source.rpartition("/")[2] for fault in faults_of(package, version, capabilities)]


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ("1.22.1", []),
        ("1.23.0", []),
        ("1.23.2", ["28466"]),
        ("1.25.1", ["28466"]),
        ("1.26.0", ["28466"]),
        ("1.27.0", []),
        ("1.32.0", []),
        ("2.0", []),
        ("1.26.0.dev20260401+cu13", ["28466"]),
        ("of unknown version", []),
        ("None", []),
    ],
)
def test_versions_of_onnxruntime_whose_convolutions_take_too_much(version: str, found: list[str]) -> None:
    assert sources("onnxruntime", version) == found


@pytest.mark.parametrize(
    ("version", "capabilities", "found"),
    [
        ("10.10.0.31", ["8.9"], []),
        ("10.13.0.35", ["8.9"], ["4853"]),
        ("10.13.3.9", ["8.9"], ["4813", "4853"]),
        ("10.16.1.11", ["9.0"], ["4813", "4853"]),
        ("10.16.1.11", ["9.0", "12.0"], ["4813", "4853", "4837"]),
        ("11.1.0.106", ["12.1"], ["4813", "4853", "4837"]),
        # A GPU that cannot be named may have it.
        ("11.1.0.106", [], ["4813", "4853", "4837"]),
    ],
)
def test_versions_of_tensorrt_that_were_wrong(
    version: str, capabilities: list[str], found: list[str]
) -> None:
    assert sources("tensorrt", version, *capabilities) == found


@pytest.mark.parametrize("fault", KNOWN_FAULTS, ids=lambda fault: fault.source.rpartition("/")[2])
def test_every_fault_is_of_a_backend_and_says_where_it_was_reported(fault: KnownFault) -> None:
    assert fault.package in {entry.package for entry in BACKENDS.values()}
    assert re.fullmatch(r"https://github\.com/[\w-]+/[\w-]+/issues/\d+", fault.source)
    assert fault.concerns(fault.since, [f"{number}.0" for number in fault.capabilities])
    assert fault.before is None or not fault.concerns(fault.before, [])
    # Where there is a good version, the other one is bad.
    assert fault.is_bad == (fault.before is not None)


def test_the_versions_that_the_tests_run_with_are_not_bad() -> None:
    assert not any(finding.is_bad for finding in doctor.examine())


def test_the_doctor_names_a_bad_version_and_ends_with_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", "1.25.1")
    printed = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "200"})
    assert printed.exit_code == 1
    assert "bad version: on a CPU, a convolution of several windows reserves gigabytes" in printed.stdout
    assert "versions known to be bad: onnxruntime" in printed.stdout
    asked = CliRunner().invoke(app, ["doctor", "--json"])
    assert asked.exit_code == 1
    found: dict[str, Any] = {finding["name"]: finding for finding in json.loads(asked.stdout)}
    assert found["onnxruntime"]["found"]
    (fault,) = found["onnxruntime"]["faults"]
    assert fault["before"] == "1.27"
    assert fault["source"].endswith("/28466")
    assert found["numpy"]["faults"] == []


def test_a_fault_that_may_not_matter_is_told_and_changes_no_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = KnownFault("onnxruntime", "1", None, "it does [this]", "do that", "https://there", False)
    monkeypatch.setattr("odise_trt.known_faults.KNOWN_FAULTS", (known,))
    printed = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "200"})
    assert printed.exit_code == 0
    assert "known: it does [this]" in printed.stdout
    assert "known to be bad" not in printed.stdout
