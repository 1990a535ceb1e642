"""The log, TensorBoard and the console: what they tell, and that they end nothing."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from odise_trt.errors import OutputError
from reference.training.curves import Curves
from reference.training.json_lines import JsonLines
from reference.training.reading import Skipped
from reference.training.run_log import RunLog


def entry(step: int) -> bytes:
    return json.dumps({"step": step, "loss": 1.5}).encode() + b"\n"


def test_steps_that_are_done_again_and_a_last_line_that_was_cut_off_leave_the_log(tmp_path):
    log = JsonLines(tmp_path / "log.jsonl")
    log.path.write_bytes(entry(1) + entry(2) + entry(3) + entry(4)[:9])
    assert log.cut(2) == 0
    assert log.path.read_bytes() == entry(1) + entry(2)


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\x00 not text",
        b"[]",
        b"7",
        b"null",
        b'"step"',
        b"{}",
        b'{"step": "3"}',
        b'{"step": null}',
        b'{"step": [1]}',
        b"[" * 100_000,
        b"",
        b"# a remark of mine",
    ],
)
def test_a_log_edited_by_hand_is_no_trouble(line, tmp_path):
    log = JsonLines(tmp_path / "log.jsonl")
    log.path.write_bytes(entry(1) + line + b"\n" + entry(2))
    assert log.cut(5) == 1
    assert log.path.read_bytes() == entry(1) + entry(2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=30), st.integers(0, 9).map(entry))), st.integers(0, 9))
def test_whatever_is_in_a_log_only_entries_stay_that_are_not_done_again(tmp_path_factory, parts, start):
    log = JsonLines(tmp_path_factory.mktemp("log") / "log.jsonl")
    log.path.write_bytes(b"".join(parts))
    log.cut(start)
    log.append({"step": start + 1})
    steps = [json.loads(line)["step"] for line in log.path.read_bytes().splitlines()]
    assert all(step <= start for step in steps[:-1])
    assert steps[-1] == start + 1


def test_a_log_that_cannot_be_read_is_named(tmp_path):
    log = JsonLines(tmp_path / "log.jsonl")
    log.path.mkdir()
    with pytest.raises(OutputError, match=r"log\.jsonl cannot be written: Is a directory"):
        log.cut(0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_the_log_is_one_message(tmp_path):
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    assert JsonLines(tmp_path / "log.jsonl").cut(0) == 0
    with pytest.raises(OutputError, match="No space left on device"):
        JsonLines(tmp_path / "log.jsonl").append({"step": 1})


def full(file, content):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def told(tmp_path: Path) -> list[str]:
    """What is said while numbers of a hundred steps are shown."""
    warnings: list[str] = []
    with Curves(tmp_path / "tensorboard", 0, warnings.append) as curves:
        for step in range(100):
            curves.add(step, {"loss": 1.0, "learning_rate": 0.1})
    return warnings


def test_tensorboard_gets_the_numbers(tmp_path):
    assert told(tmp_path) == []
    assert sum(path.stat().st_size for path in (tmp_path / "tensorboard").iterdir()) > 1000


def test_a_full_disk_in_tensorboards_thread_is_one_warning(tmp_path, monkeypatch, capfd):
    from tensorboard.summary.writer.record_writer import RecordWriter

    monkeypatch.setattr(RecordWriter, "write", full)
    before = threading.excepthook
    assert told(tmp_path) == ["no TensorBoard: [Errno 28] No space left on device; the log has the numbers"]
    assert threading.excepthook is before
    assert capfd.readouterr().err == ""


def test_a_disk_that_fills_up_meanwhile_is_one_warning(tmp_path, monkeypatch, capfd):
    from tensorboard.summary.writer.record_writer import RecordWriter

    write = RecordWriter.write
    calls = 0

    def filling(self, content):
        nonlocal calls
        calls += 1
        return full(self, content) if calls > 30 else write(self, content)

    monkeypatch.setattr(RecordWriter, "write", filling)
    assert len(told(tmp_path)) == 1
    assert capfd.readouterr().err == ""


def test_a_folder_that_tensorboard_cannot_make_is_one_warning(tmp_path):
    (tmp_path / "tensorboard").write_text("a file")
    (warning,) = told(tmp_path)
    assert warning.startswith("no TensorBoard: ")


def test_without_tensorboard_the_run_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert told(tmp_path) == [
        "no TensorBoard: it is not installed (pip install tensorboard); the log has the numbers"
    ]


def test_errors_of_other_threads_are_shown_as_ever(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda failure: seen.append(failure.exc_value))
    with Curves(tmp_path, 0, lambda _: None):
        thread = threading.Thread(target=lambda: list[int]()[0])
        thread.start()
        thread.join()
    assert isinstance(seen[0], IndexError)


def run_log(folder: Path, console: Console, steps: int = 100, every: int = 1000) -> RunLog:
    return RunLog(folder, start=0, steps=steps, every=every, batch=4, console=console, active=True)


def test_progress_is_told_in_lines_where_the_output_is_a_file(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr("reference.training.run_log.monotonic", lambda: now)
    file = io.StringIO()
    with run_log(tmp_path, Console(file=file, width=60)) as run:
        for step in range(1, 101):
            now += 10.0
            run.step(step, {"loss": 1.0}, 0.1)
    lines = file.getvalue().splitlines()
    # The first step, then every half a minute, then the last one.
    assert lines[0] == "step 1 of 100 (1%): 0.40 images/s  0:16:30 left"
    assert lines[1] == "step 4 of 100 (4%): 0.40 images/s  0:16:00 left"
    assert lines[2] == "step 7 of 100 (7%): 0.40 images/s  0:15:30 left"
    assert lines[-1].startswith("step 100: loss 1")
    assert len(lines) == 34


def test_the_last_step_is_logged_whatever_the_number_of_steps(tmp_path):
    with run_log(tmp_path, Console(quiet=True), steps=3, every=20) as run:
        for step in range(1, 4):
            run.step(step, {"loss": float(step)}, 0.1)
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    assert (json.loads(line)["step"], json.loads(line)["loss"]) == (3, 2.0)


def test_pictures_that_are_left_out_are_named_once_and_counted(tmp_path):
    file = io.StringIO()
    one, other = Skipped("a[1].png", "a[1].png is damaged"), Skipped("b.png", "b.png is gone")
    with run_log(tmp_path, Console(file=file, width=60)) as run:
        run.skipped([one, other])
        run.skipped([one])
    assert file.getvalue().splitlines() == [
        "left out: a[1].png is damaged",
        "left out: b.png is gone",
        "pictures left out, as they cannot be read: 2",
    ]
