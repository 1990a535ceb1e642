"""One part of the GPU measurement in its process: how it ends, and the clocks it watches."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import worker
from benchmarks.gpu.clocks import Watch, parsed
from benchmarks.gpu.job import Job
from benchmarks.gpu.parts import Part
from benchmarks.gpu.records import PartRecord, read_record
from odise_trt.errors import BackendError

JOB = Job("demo", "random:0", "cpu", 64, 0.1, "fp32", "abc")
MACHINE = {"device": "a card", "versions": {"torch": "2"}}
KEY = {"machine": MACHINE, "job": JOB.to_json()}


class Bench:
    """What the stand-in parts below are called with."""


def two_numbers(bench: Bench) -> Any:
    yield "first", {"seconds": 1.0}
    yield "second", {"seconds": 2.0}


def one_fails(bench: Bench) -> Any:
    yield "first", {"seconds": 1.0}
    yield "second", {"error": "RuntimeError: no such kernel"}


def stops(bench: Bench) -> Any:
    yield "first", {"seconds": 1.0}
    raise RuntimeError("out of memory")


def lacks(bench: Bench) -> Any:
    raise BackendError("backend tensorrt is not installed", "pip install it")
    yield


class Hot(Watch):
    """A GPU that is too hot while the second number is measured."""

    def __init__(self) -> None:
        super().__init__(None)
        self.asked = 0

    def throttled(self, since: float) -> str:
        self.asked += 1
        return "hardware thermal slowdown in 80% of 20 samples" if self.asked == 2 else ""


def worked(function: str, folder: Path, watch: Watch | None = None) -> PartRecord:
    part = Part("growth", "growth", 10.0, f"{__name__}:{function}")
    worker.work(part, Bench, PartRecord("growth", KEY), folder, watch or Watch(None))  # type: ignore[arg-type]
    record = read_record(folder, "growth")
    assert record is not None
    return record


@pytest.mark.parametrize(
    ("function", "status", "message", "count"),
    [
        ("two_numbers", "done", "", 2),
        ("one_fails", "failed", "not measured: second", 2),
        ("stops", "failed", "RuntimeError: out of memory", 1),
        ("lacks", "refused", "backend tensorrt is not installed\n  pip install it", 0),
    ],
)
def test_a_part_says_how_it_ended(
    tmp_path: Path, function: str, status: str, message: str, count: int
) -> None:
    record = worked(function, tmp_path)
    assert (record.status, record.message, len(record.numbers)) == (status, message, count)


def test_a_number_is_refused_while_the_clocks_throttle(tmp_path: Path) -> None:
    record = worked("two_numbers", tmp_path, Hot())
    assert record.numbers["first"] == {"seconds": 1.0}
    assert record.numbers["second"]["error"].startswith("the clocks throttled: hardware thermal slowdown")
    assert record.numbers["second"]["measured"] == {"seconds": 2.0}
    assert record.status == "failed"


@pytest.fixture
def smi(tmp_path: Path) -> Path:
    """An nvidia-smi that reports a power cap in every second sample, and goes on until it is ended."""
    tool = tmp_path / "nvidia-smi"
    lines = "".join(f"echo '0x000000000000000{reason}, 1980, 2619, 63, 548.2'\n" for reason in "04040404")
    tool.write_text(f"#!/bin/sh\n{lines}exec sleep 60\n")
    tool.chmod(0o755)
    return tool


def test_the_clocks_are_watched_while_a_number_is_measured(smi: Path) -> None:
    since = time.monotonic()
    with Watch(0, str(smi)) as watch:
        while len(watch._samples) < 8 and time.monotonic() - since < 30:
            time.sleep(0.005)
        assert watch.throttled(since) == "software power cap in 50% of 8 samples"
        assert watch.throttled(time.monotonic()) == ""
        assert watch.last() == {"sm_mhz": "1980", "memory_mhz": "2619", "celsius": "63", "watts": "548.2"}


def test_without_nvidia_smi_nothing_is_seen(tmp_path: Path) -> None:
    with Watch(0, str(tmp_path / "nothing")) as watch:
        assert watch.throttled(0.0) == ""
        assert watch.last() == {}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0x0000000000000040, 1980, 2619", (0x40, ("1980", "2619"))),
        ("[N/A], 1980", None),
        ("Failed to initialize NVML", None),
        ("", None),
    ],
)
def test_lines_of_nvidia_smi_are_read_or_passed_over(line: str, expected: object) -> None:
    assert parsed(line) == expected
