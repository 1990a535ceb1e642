"""The one GPU command without a GPU: planning, resuming, limits, parts that fail, clocks, and the tables."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.gpu import worker
from benchmarks.gpu.clocks import Watch, parsed
from benchmarks.gpu.job import Job
from benchmarks.gpu.parts import PARTS, PROBE, Part
from benchmarks.gpu.picture import waterfall
from benchmarks.gpu.plan import limit_of, plan
from benchmarks.gpu.process import Ended, run_limited
from benchmarks.gpu.records import PartRecord, path_of, read_record
from benchmarks.gpu.runner import run
from benchmarks.gpu.table import next_step, tables
from odise_trt.errors import BackendError, OdiseError, OutputError
from tests.door import call, verb

JOB = Job("demo", "random:0", "cpu", 64, 0.1, "fp32", "abc")
MACHINE = {"device": "a card", "versions": {"torch": "2"}}
KEY = {"machine": MACHINE, "job": JOB.to_json()}
GROWTH, FLOOR, PARITY = (
    next(part for part in PARTS if part.name == name) for name in ("growth", "floor", "parity")
)
CHOSEN = (FLOOR, GROWTH, PARITY)


def ended(status: int | None = 0, seconds: float = 1.0, stderr: str = "") -> Ended:
    return Ended(status, seconds, stderr)


class Workers:
    """Stands in for the processes of parts. `ends` says how a part ends; by default it is done."""

    def __init__(self, **ends: Callable[[PartRecord, Path], Ended]) -> None:
        self.ends = ends
        self.began: list[str] = []
        self.limits: dict[str, float] = {}
        self.machine = MACHINE
        self.now = 0.0

    def __call__(self, part: Part, folder: Path, told: Mapping[str, Any], limit: float) -> Ended:
        self.began.append(part.name)
        self.limits[part.name] = limit
        record = PartRecord(
            part.name, told["key"], numbers={"machine": self.machine} if part.name == PROBE else {}
        )
        how = self.ends.get(part.name, done)(record, folder)
        self.now += how.seconds
        return how

    def run(self, folder: Path, seconds: float = 540.0, parts: tuple[Part, ...] = CHOSEN, **more: Any) -> Any:
        self.began.clear()
        began = self.now
        return run(folder, JOB, parts, seconds, start=self, clock=lambda: self.now - began, **more)


def done(record: PartRecord, folder: Path) -> Ended:
    record.status = "done"
    record.numbers["a number"] = {"seconds": 1.0}
    record.write(folder)
    return ended()


def crashes(record: PartRecord, folder: Path) -> Ended:
    return ended(-11)


def takes_too_long(record: PartRecord, folder: Path) -> Ended:
    record.numbers["first"] = {"seconds": 1.0}
    record.write(folder)
    return ended(None, 300.0)


def test_a_second_call_runs_only_the_probe(tmp_path: Path) -> None:
    workers = Workers()
    assert workers.run(tmp_path).failed == ()
    assert workers.began == [PROBE, "floor", "growth", "parity"]
    outcome = workers.run(tmp_path)
    assert workers.began == [PROBE]
    assert outcome.record["sections"]["growth"] == {"a number": {"seconds": 1.0}}


@pytest.mark.parametrize("change", ["machine", "again"])
def test_another_card_or_a_wish_runs_everything_again(tmp_path: Path, change: str) -> None:
    workers = Workers()
    workers.run(tmp_path)
    if change == "machine":
        workers.machine = MACHINE | {"device": "another card"}
    workers.run(tmp_path, again=change == "again")
    assert workers.began == [PROBE, "floor", "growth", "parity"]


def test_another_commit_runs_everything_again(tmp_path: Path) -> None:
    for part in CHOSEN:
        PartRecord(part.name, KEY, "done").write(tmp_path)
    assert plan(tmp_path, CHOSEN, KEY).pending == ()
    other = {"machine": MACHINE, "job": JOB.to_json() | {"commit": "def"}}
    assert plan(tmp_path, CHOSEN, other).pending == CHOSEN


def test_what_was_cut_comes_first_and_what_failed_last(tmp_path: Path) -> None:
    PartRecord("floor", KEY, "failed").write(tmp_path)
    PartRecord("parity", KEY, "cut").write(tmp_path)
    assert plan(tmp_path, CHOSEN, KEY).pending == (PARITY, GROWTH, FLOOR)


def test_a_file_that_is_cut_off_counts_as_none(tmp_path: Path) -> None:
    path_of(tmp_path, "floor").write_text('{"part": "floor", ')
    assert read_record(tmp_path, "floor") is None
    assert plan(tmp_path, CHOSEN, KEY).pending == CHOSEN


def test_a_part_that_crashes_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    workers = Workers(floor=crashes)
    outcome = workers.run(tmp_path)
    assert workers.began == [PROBE, "floor", "growth", "parity"]
    assert outcome.failed == ("floor",)
    assert outcome.record["parts"]["floor"]["message"] == "it was ended by SIGSEGV"
    workers.ends.clear()
    assert workers.run(tmp_path).failed == ()
    assert workers.began == [PROBE, "floor"]


def test_a_part_that_takes_too_long_keeps_the_numbers_it_has(tmp_path: Path) -> None:
    outcome = Workers(growth=takes_too_long).run(tmp_path)
    assert outcome.failed == ("growth",)
    assert outcome.record["parts"]["growth"]["status"] == "timeout"
    assert outcome.record["sections"]["growth"] == {"first": {"seconds": 1.0}}


def test_a_part_that_the_call_had_no_time_for_is_left_and_has_not_failed(tmp_path: Path) -> None:
    workers = Workers(growth=takes_too_long)
    outcome = workers.run(tmp_path, seconds=200.0)
    assert workers.limits["growth"] == pytest.approx(198.0)
    assert outcome.left == ("growth", "parity")
    assert outcome.failed == ()
    workers.ends.clear()
    assert workers.run(tmp_path).left == ()
    assert workers.began == [PROBE, "growth", "parity"]


def test_no_part_begins_in_the_last_minute_unless_it_needs_less() -> None:
    assert limit_of(PARITY, 59.0) is None
    assert limit_of(PARITY, 61.0) == 61.0
    assert limit_of(PARITY, 1000.0) == PARITY.limit
    assert limit_of(Part("short", "short", 10.0, "a:b"), 11.0) == 10.0


def test_a_refusal_is_a_result(tmp_path: Path) -> None:
    def refuses(record: PartRecord, folder: Path) -> Ended:
        record.status, record.message = "refused", "no such GPU"
        record.write(folder)
        return ended()

    workers = Workers(growth=refuses)
    outcome = workers.run(tmp_path)
    assert outcome.failed == ()
    assert outcome.record["parts"]["growth"]["message"] == "no such GPU"
    workers.run(tmp_path)
    assert workers.began == [PROBE]


def test_a_machine_that_cannot_be_probed_is_an_error(tmp_path: Path) -> None:
    workers = Workers(probe=lambda record, folder: ended(1, stderr="DeviceError: there is no device 'cuda'"))
    with pytest.raises(OdiseError, match="could not be probed: DeviceError: there is no device 'cuda'"):
        workers.run(tmp_path)


def test_a_file_of_others_is_kept(tmp_path: Path) -> None:
    path_of(tmp_path, "growth").write_text('{"mine": 1}')
    workers = Workers()
    with pytest.raises(OutputError, match="not a record of this benchmark"):
        workers.run(tmp_path)
    assert workers.began == []


def test_a_process_is_ended_at_its_limit_with_what_it_started() -> None:
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    began = time.monotonic()
    found = run_limited([sys.executable, "-c", child], 0.5)
    assert found.status is None
    assert "longer than" in found.message
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("pass", ""),
        ("raise ValueError('no such kernel')", "ValueError: no such kernel"),
        ("import sys; sys.exit(3)", "exit status 3"),
        ("import os; os.kill(os.getpid(), 9)", "it was ended by SIGKILL, most often because memory ran out"),
    ],
)
def test_the_end_of_a_process_is_said_in_words(code: str, message: str) -> None:
    assert run_limited([sys.executable, "-c", code], 60).message == message


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


@pytest.fixture(scope="module")
def h100(request: pytest.FixtureRequest) -> dict[str, Any]:
    record = request.config.rootpath / "benchmarks" / "results" / "odise-label-h100.json"
    found: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    return found


def printed(record: Mapping[str, Any]) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    for table in tables(record):
        console.print(table)
    return console.export_text()


def test_the_tables_show_the_recorded_run(h100: dict[str, Any]) -> None:
    text = printed(h100)
    assert "milliseconds, 1024x1024, NVIDIA H100 80GB HBM3" in text
    assert "milliseconds, 1024x1365, NVIDIA H100 80GB HBM3" in text
    (compiled,) = [line for line in text.splitlines() if "torch.compile" in line and "15.0x" in line]
    assert " 94.5 " in compiled
    assert "10000 categories" in text


def test_the_next_step_is_the_stage_with_most_seconds_above_its_floor(h100: dict[str, Any]) -> None:
    assert next_step(h100).startswith("next: features. Its best time is 47.6 ms")
    assert next_step({"machine": MACHINE, "sections": {}}) == ""


def test_what_failed_is_in_no_table(h100: dict[str, Any]) -> None:
    spoiled = json.loads(json.dumps(h100))
    for section in spoiled["sections"].values():
        for name in section:
            section[name] = {"error": "the clocks throttled", "measured": section[name]}
    assert printed(spoiled).strip() == ""
    assert waterfall(spoiled) is None


def test_engines_and_parity_have_tables_and_an_engine_can_be_the_best(h100: dict[str, Any]) -> None:
    record = json.loads(json.dumps(h100))
    record["sections"]["engines"] = {
        "tensorrt fp16 features, CUDA graphs": {"seconds": 0.02, "relative_l2": {"s2": 1e-3, "s3": 2e-3}}
    }
    record["sections"]["parity"] = {
        "features fp16 4 windows": {"max_abs": 0.5, "relative_l2": 3e-3},
        "end to end fp16": {"mask_pred_relative_l2": 4e-3, "mask_iou": 0.99, "panoptic_agreement": 0.998},
    }
    text = printed(record)
    assert "20.00" in text
    assert "2.0e-03" in text
    assert "99.80%" in text
    assert "tensorrt fp16 features, CUDA graphs" in next(
        line for line in text.splitlines() if "10.044" in line
    )


def test_the_waterfall_has_a_bar_per_technique_of_the_first_size(h100: dict[str, Any]) -> None:
    image = waterfall(h100)
    assert image is not None
    assert image.height == 92 + 34 * 11 + 20
    features = [
        sum(image.getpixel((x, 92 + 34 * row + 17)) == (31, 119, 180) for x in range(image.width))
        for row in range(11)
    ]
    assert features[0] == pytest.approx(features[1] * 1286 / 319, rel=0.05)


def test_the_command_names_its_parts_and_refuses_others(tmp_path: Path) -> None:
    done = call(verb("benchmarks.cli:app", "gpu"), "--output", tmp_path, "--part", "nothing")
    assert done.status == 2
    assert list(tmp_path.iterdir()) == []


def test_a_summary_of_others_is_named_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"mine": 1}')
    done = call(verb("benchmarks.cli:app", "gpu"), "--output", tmp_path, "--device", "cpu")
    assert done.status == 1
    assert "is not a record of this benchmark" in done.stderr


@pytest.mark.slow
def test_the_whole_command_on_a_cpu_goes_on_where_it_was(tmp_path: Path) -> None:
    options = [
        "--preset",
        "demo",
        "--weights",
        "random:0",
        "--device",
        "cpu",
        "--side",
        "64",
        "--seconds",
        "0.1",
    ]
    chosen = ["--precision", "fp32", "--part", "floor", "--part", "tensorrt-features", "--output", tmp_path]
    done = call(verb("benchmarks.cli:app", "gpu"), *options, *chosen)
    assert done.status == 0, done.stderr
    found = json.loads((tmp_path / "summary.json").read_text())
    assert found["parts"]["floor"]["status"] == "done"
    assert found["parts"]["tensorrt-features"]["status"] == "refused"
    assert "floor: there, done" in call(verb("benchmarks.cli:app", "gpu"), *options, *chosen).stdout
