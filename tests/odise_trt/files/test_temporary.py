"""Files in the making that a killed process left are removed; those of others never are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from odise_trt.files import temporary
from odise_trt.files.output import prepare_folder
from odise_trt.files.temporary import clear_leftovers, temporary_name
from odise_trt.files.writing import write_together

DAY = 24 * 60 * 60


def test_what_a_killed_process_left_is_gone_before_the_next_work(tmp_path: Path) -> None:
    killed = (
        "import os, signal, sys, pathlib\n"
        "from odise_trt.files.temporary import temporary_name\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "(folder / temporary_name()).write_bytes(b'half')\n"
        "(folder / temporary_name() / 'images').mkdir(parents=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", killed, str(tmp_path)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".*.tmp"))) == 2
    prepare_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_of_living_processes_of_others_and_of_other_programs_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", os.getppid)  # one that lives
    living = tmp_path / temporary_name()
    monkeypatch.undo()
    monkeypatch.setattr(temporary, "_machine", lambda: "0" * 12)
    elsewhere = tmp_path / temporary_name()
    monkeypatch.undo()
    others = [tmp_path / name for name in (f".{uuid.uuid4().hex}.tmp", ".odise-trt-1.tmp", "a.tmp", "b.png")]
    for path in (living, elsewhere, *others):
        path.touch()
    now = living.stat().st_mtime
    clear_leftovers(tmp_path, now)
    assert set(tmp_path.iterdir()) == {living, elsewhere, *others}
    clear_leftovers(tmp_path, now + DAY + 1)
    assert set(tmp_path.iterdir()) == set(others)


def test_a_folder_that_cannot_be_looked_into_is_no_error(tmp_path: Path) -> None:
    clear_leftovers(tmp_path / "nowhere", 0.0)


def test_nothing_is_left_where_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_together(tmp_path, {"a": b"1", "b": b"2"}, keep=lambda path: None)
    assert list(tmp_path.iterdir()) == []
