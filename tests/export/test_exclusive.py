"""Builds of one bundle wait for each other, and clear what dead ones left."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest

from export.exclusive import exclusively, graph_folder
from odise_trt.bundle.manifest import MANIFEST
from odise_trt.errors import OutputError


def bundle(place: Path, content: str = "old") -> Path:
    place.mkdir(parents=True)
    (place / MANIFEST).write_text(content)
    return place


def hidden(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.startswith("."))


def test_a_second_build_of_a_bundle_waits_for_the_first(tmp_path: Path) -> None:
    events, notes = [], []
    place = tmp_path / "b"

    def second() -> None:
        with exclusively([place], notes.append):
            events.append("second")

    with exclusively([place], events.append):
        thread = threading.Thread(target=second)
        thread.start()
        while not notes:
            time.sleep(0.01)
        events.append("first")
    thread.join(10)
    assert events == ["first", "second"]
    (note,) = notes
    assert note.startswith(f"waiting for another build of {place} (process {os.getpid()} on ")
    assert os.listdir(tmp_path) == []


def test_many_builds_of_the_same_bundles_end_one_after_the_other(tmp_path: Path) -> None:
    """In whatever order they name them; each reads and writes a number, which they would lose otherwise."""
    places = [tmp_path / name for name in "abc"]
    counter = tmp_path / "counter"
    counter.write_text("0")

    def build(order: int) -> None:
        with exclusively(places[order:] + places[:order], lambda note: None):
            number = int(counter.read_text())
            time.sleep(0.01)
            counter.write_text(str(number + 1))

    threads = [threading.Thread(target=build, args=(order % 3,)) for order in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert counter.read_text() == "6"
    assert os.listdir(tmp_path) == ["counter"]


def test_a_build_that_was_killed_holds_nothing(tmp_path: Path, root: Path) -> None:
    text = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\nfrom pathlib import Path\n"
        "from export.exclusive import exclusively, graph_folder\nfrom odise_trt.bundle import BundleWriter\n"
        "place = Path(sys.argv[2])\n"
        "with exclusively([place], print), graph_folder(place), BundleWriter(place):\n"
        "    os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", text, str(root), str(tmp_path / "b")], check=False)
    left = hidden(tmp_path)
    assert [name.rpartition("-")[0] or name for name in left] == [
        *(".b.holder", ".b.lock", ".b.onnx", ".b.partial"),
    ]
    notes: list[str] = []
    with exclusively([tmp_path / "b"], notes.append):
        assert hidden(tmp_path) == [".b.holder", ".b.lock"]
        assert f"process {os.getpid()} " in (tmp_path / ".b.holder").read_text()
    assert notes == [f"cleared what a build that was killed left: {', '.join(left[2:])}"]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["partial", "onnx", "retired"])
def test_leftovers_go_and_those_of_other_bundles_stay(kind: str, tmp_path: Path) -> None:
    place = bundle(tmp_path / "demo")
    bundle(tmp_path / f".demo.{kind}-abc")
    others = [f".demo-fp16.{kind}-abc", f".demo.{kind}", f"demo.{kind}-abc", ".other", f".dem.{kind}-x"]
    for name in others:
        (tmp_path / name).mkdir()
    with exclusively([place], lambda note: None):
        assert sorted(os.listdir(tmp_path)) == sorted(["demo", ".demo.holder", ".demo.lock", *others])
    assert sorted(os.listdir(tmp_path)) == sorted(["demo", *others])


def test_a_build_that_died_between_two_renames_loses_no_bundle(tmp_path: Path) -> None:
    bundle(tmp_path / ".demo.retired-abc", "the only one")
    with exclusively([tmp_path / "demo"], lambda note: None):
        assert (tmp_path / "demo" / MANIFEST).read_text() == "the only one"
    assert os.listdir(tmp_path) == ["demo"]


def test_a_link_and_the_folder_it_leads_to_are_one_bundle(tmp_path: Path) -> None:
    real = bundle(tmp_path / "disk" / "real")
    link = tmp_path / "demo"
    link.symlink_to(real)
    with exclusively([link, real], pytest.fail), graph_folder(link) as work:
        assert work.parent == real.parent
        assert hidden(tmp_path) == []


def test_a_link_to_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "demo").symlink_to(tmp_path / "unmounted" / "demo")
    with (
        pytest.raises(OutputError, match=r"demo is a link to .*unmounted"),
        exclusively([tmp_path / "demo"], print),
    ):
        pytest.fail("the block must not run")
    assert os.listdir(tmp_path) == ["demo"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOLCK, "No locks available"), OSError(errno.ENOSYS, ""), NotImplementedError()]
)
def test_a_file_system_without_locks_is_said(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No such file system is at hand.
    def acquire(self: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    refused = pytest.raises(OutputError, match="cannot be locked against other builds: ")
    with refused as caught, exclusively([tmp_path / "b"], print):
        pytest.fail("the block must not run")
    assert "None" not in str(caught.value)


PLACES: dict[str, Callable[[Path], Path]] = {
    "the output is a file": lambda folder: folder / "file",
    "a file is on the way to it": lambda folder: folder / "file" / "engines",
    "a file system without files": lambda folder: Path("/proc/engines"),
    "a name that is too long": lambda folder: folder / ("x" * 300),
}


@pytest.mark.parametrize("place", PLACES)
def test_an_output_that_cannot_be_written_is_an_error_that_names_it(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    output = PLACES[place](tmp_path)
    with pytest.raises(OutputError) as caught, exclusively([output / "b"], print):
        pytest.fail("the block must not run")
    assert str(output) in caught.value.message
    assert os.listdir(tmp_path) == ["file"]


def test_a_process_that_waits_is_told_for_whom_and_ends_by_ctrl_c(tmp_path: Path, root: Path) -> None:
    text = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom pathlib import Path\n"
        "from export.exclusive import exclusively\n"
        "try:\n"
        "    with exclusively([Path(sys.argv[2])], lambda note: print(note, flush=True)): print('built')\n"
        "except KeyboardInterrupt:\n    print('stopped')"
    )
    with exclusively([tmp_path / "b"], pytest.fail):
        command = [sys.executable, "-c", text, str(root), str(tmp_path / "b")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            told = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            said = process.stdout.read()
    assert f"build of {tmp_path / 'b'} (process {os.getpid()} on {socket.gethostname()}, since 20" in told
    assert said == "stopped\n"
    assert os.listdir(tmp_path) == []
