"""How a build ends is its last line, in words or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from export import verdict
from export.build import BuiltBundle
from export.json_lines import JsonReporter
from export.unfinished import StageResult
from odise_trt.bundle.manifest import Parity
from odise_trt.errors import ExportError
from tests.door import call, verb

ROW = Parity("clip_pool", "clip_mask_embed", "onnx", {}, 1e-7, 1e-7, 1e-4)
STAGE = StageResult("clip_pool", 216, 4_000_000, 3.5, ROW, 10**9)


def fails() -> None:
    raise ExportError("no")


def stops() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("work", "how"),
    [(lambda: None, "PASSED"), (fails, "FAILED"), (stops, "STOPPED")],
    ids=["passed", "failed", "stopped"],
)
def test_a_block_that_ends_is_said_to_have_passed_failed_or_stopped(
    work: Callable[[], None], how: str
) -> None:
    said: list[str] = []
    try:
        with verdict.verdict(lambda word, seconds: said.append(word)):
            work()
    except (ExportError, KeyboardInterrupt):
        said.append("raised")
    assert said == [how] if how == "PASSED" else [how, "raised"]


def test_the_command_can_be_given_to_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/opt/bin/odise-trt", "build", "--output", "my engines"])
    assert verdict.command_line() == "odise-trt build --output 'my engines'"
    monkeypatch.setattr("sys.argv", ["export/build_engines.py", "--force"])
    assert verdict.command_line() == "python export/build_engines.py --force"


def test_every_event_is_a_line_of_json() -> None:
    lines: list[str] = []
    reporter = JsonReporter(lines.append)
    reporter.begin(2)
    reporter.step("loading weights")
    reporter.phase("kernels", 1, 3)
    reporter.note("a [note]\nof two lines")
    reporter.step("clip_pool")
    reporter.built([BuiltBundle(Path("engines/x"), (STAGE,), ("features",), True)])
    reporter.end("PASSED", "odise-trt build")
    events = [json.loads(line) for line in lines]
    assert [event.pop("event") for event in events] == [
        *("begin", "step", "phase", "note", "step", "stage", "bundle", "passed"),
    ]
    assert all(event.pop("seconds") >= 0 for event in events)
    assert events[1] == {"what": "loading weights", "step": 1, "steps": 2}
    assert events[4]["step"] == 2
    assert events[5]["relative_l2"] == 1e-7
    assert events[6] == {
        "folder": "engines/x",
        "up_to_date": False,
        "kept": [],
        "missing": ["features"],
        "seeded": True,
        "graphs_only": False,
    }
    assert events[7] == {"command": "odise-trt build"}


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_build_that_is_refused_ends_with_failed_and_leaves_nothing(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    done = call(verb("export.cli:build"), "--stage", "decoder", "--output", tmp_path / "out", *words)
    assert done.status == 1
    assert "there is no stage 'decoder'" in done.stderr
    last = done.stdout.splitlines()[-1]
    assert json.loads(last)["event"] == "failed" if words else last.startswith("FAILED | ")
    assert list(tmp_path.iterdir()) == []
