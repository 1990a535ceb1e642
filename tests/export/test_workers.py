"""Worker processes: they end with their parent, and their end is one message."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from export.workers import run_in_workers
from odise_trt.errors import ExportError, WeightsError


def slowly(number: int) -> int:
    time.sleep(0.2 if number % 2 else 0)
    return number


def end_by(number: int) -> int:
    os.kill(os.getpid(), number)
    time.sleep(60)
    return number


def refuse(number: int) -> int:
    raise WeightsError(f"weights {number} cannot be read", "check the permissions")


def test_results_come_in_the_order_of_the_calls() -> None:
    assert list(run_in_workers(slowly, [(number,) for number in range(5)], 2)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("number", "message", "hint"),
    [
        (signal.SIGKILL, "killed, most often because memory ran out", "--jobs 1"),
        (signal.SIGTERM, "killed, most often because memory ran out", "--jobs 1"),
        (signal.SIGSEGV, r"crashed \(SIGSEGV\)", "--jobs 1"),
    ],
)
def test_the_end_of_a_worker_is_one_error_that_says_what_to_do(number: int, message: str, hint: str) -> None:
    with pytest.raises(ExportError, match=message) as caught:
        list(run_in_workers(end_by, [(number,), (number,)], 2))
    assert hint in str(caught.value.hint)
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def test_a_typed_error_arrives_as_it_was_raised() -> None:
    with pytest.raises(WeightsError) as caught:
        list(run_in_workers(refuse, [(1,), (2,)], 2))
    assert (caught.value.message, caught.value.hint) == ("weights 1 cannot be read", "check the permissions")


PARENT = """
import sys, time
sys.path[:0] = [{root!r}, {here!r}]
from odise_trt.cli import boundary
from export.exclusive import clear_held, exclusively, graph_folder
from export.stopping import ends_soon
from export.workers import run_in_workers
from pathlib import Path
from tests.export import worker_calls
def main():
    bundle = Path(sys.argv[1]) / "b"
    with ends_soon(clear_held), exclusively([bundle], print), graph_folder(bundle):
        list(run_in_workers(worker_calls.announce, [(sys.argv[1], n) for n in range(2)], 2))
if __name__ == "__main__":
    boundary.run(main)
"""


def gone(process: psutil.Process) -> bool:
    # A container may have nobody who takes note of the end of orphans.
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT", "SIGKILL"])
def test_however_a_build_ends_its_workers_end_with_it(name: str, root: Path, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(root=str(root), here=str(Path(__file__).parent)))
    place = tmp_path / "place"
    place.mkdir()
    command = [sys.executable, str(script), str(place)]
    # A group of its own, which gets Ctrl-C as from a terminal: the workers as well.
    parent = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until(lambda: len(list(place.glob("ready-*"))) == 2)
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert len(workers) >= 2
    number = getattr(signal, name)
    (os.killpg if name == "SIGINT" else os.kill)(parent.pid, number)
    _, errors = parent.communicate(timeout=30)
    until(lambda: all(map(gone, workers)))
    if name == "SIGKILL":
        assert parent.returncode == -number
        assert "Traceback" not in errors
    else:
        assert parent.returncode == 128 + number
        assert errors == f"stopped by {'Ctrl-C' if name == 'SIGINT' else name}\n"
        assert sorted(path.name for path in place.iterdir()) == ["ready-0", "ready-1"]


def until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
