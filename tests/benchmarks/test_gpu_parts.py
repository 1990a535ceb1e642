"""The one GPU command without a GPU: planning, resuming, limits, and parts that fail."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.job import Job, MeasuredBundle
from benchmarks.gpu.parts import PARTS, PROBE, Part
from benchmarks.gpu.plan import limit_of, plan
from benchmarks.gpu.process import Ended, run_limited
from benchmarks.gpu.records import PartRecord, path_of, read_record
from benchmarks.gpu.runner import run
from odise_trt.errors import OdiseError, OutputError
from tests.door import call, verb
from tests.odise_trt import toy_bundle

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


def test_other_code_of_the_same_commit_runs_everything_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = Workers()
    workers.run(tmp_path)
    monkeypatch.setattr("benchmarks.gpu.runner._ROOT", tmp_path)
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "stage.py").write_text("changed = True")
    workers.run(tmp_path)
    assert workers.began == [PROBE, "floor", "growth", "parity"]
    workers.run(tmp_path)
    assert workers.began == [PROBE]


def test_a_bundle_that_was_built_again_is_measured_again(tmp_path: Path) -> None:
    bundle = toy_bundle.make(tmp_path / "toy")
    workers, records = Workers(), tmp_path / "records"

    def measured() -> list[str]:
        job = replace(JOB, bundles=(MeasuredBundle.read(bundle),))
        workers.began.clear()
        run(records, job, CHOSEN, 540.0, start=workers, clock=lambda: 0.0)
        return list(workers.began)

    assert measured() == [PROBE, "floor", "growth", "parity"]
    assert measured() == [PROBE]
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["weights"]["sha256"] = "1" * 64
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert measured() == [PROBE, "floor", "growth", "parity"]
    summary = json.loads((records / "summary.json").read_text())
    (named,) = summary["bundles"]
    assert (named["preset"], named["backend"], named["precision"]) == ("toy", "onnxruntime", "fp32")
    assert named["sha256"] == hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()


def test_a_job_is_what_it_was_when_it_is_read_back(tmp_path: Path) -> None:
    job = replace(JOB, bundles=(MeasuredBundle.read(toy_bundle.make(tmp_path / "toy")),))
    assert Job.from_json(json.loads(json.dumps(job.to_json()))) == job
    assert job.bench().engines == (str(tmp_path / "toy"),)


def test_a_folder_that_is_no_bundle_is_named_before_anything_runs(tmp_path: Path) -> None:
    options = ("--output", tmp_path / "out", "--device", "cpu", "--engines", tmp_path / "nothing")
    done = call(verb("benchmarks.cli:app", "gpu"), *options)
    assert done.status == 1
    assert "nothing" in done.stderr
    assert not (tmp_path / "out" / "probe.json").exists()


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
