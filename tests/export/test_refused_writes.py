"""What the operating system refuses while a bundle is written: typed, named, and nothing is left behind."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from torch import nn

from export import disk_space, onnx_export
from export.build import build
from export.console import ConsoleReporter
from export.onnx_export import export_stage
from export.plan import Request
from export.report import write_report
from export.stage_work import used, weights_of
from export.tokenizer import write_tokenizer
from odise_trt.bundle import BundleWriter
from odise_trt.bundle.manifest import CONSTANTS, MANIFEST, TOKENIZER
from odise_trt.errors import OutputError, WeightsError
from odise_trt.files.writing import writing
from reference.checkpoint import describe_weights, load_weights
from reference.preset import PRESETS
from tests.export.tiny_stages import rows_to_rows, stage_of
from tests.full_disk import files_of_at_most
from tests.tiny_preset import TINY


def write_graph(writer: BundleWriter) -> None:
    spec = rows_to_rows(width=64).at("fp32")
    stage = stage_of(lambda self, x: self.linear(x), spec, linear=nn.Linear(64, 64))
    export_stage(stage, spec, writer.folder, precision="fp32")


def write_constants(writer: BundleWriter) -> None:
    with writer.file(CONSTANTS) as file:
        np.savez(file, null_embed=np.zeros((1, 4096), np.float32))


def write_tokens(writer: BundleWriter) -> None:
    with writer.file(TOKENIZER) as file:
        write_tokenizer(file)


def write_page(writer: BundleWriter) -> None:
    write_report(writer.folder / "parity.html", [], "t" * 5000)


def write_manifest(writer: BundleWriter) -> None:
    with writer.file(MANIFEST) as file:
        file.write_text("x" * 5000)


def copy_a_stage(writer: BundleWriter) -> None:
    # From another file system: there are no hard links between two.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        source = Path(folder, "stage.onnx")
        source.write_bytes(b"x" * 250)
        with files_of_at_most(100):
            writer.adopt(source)


WRITERS: dict[str, Callable[[BundleWriter], None]] = {
    "rows.onnx": write_graph,
    CONSTANTS: write_constants,
    TOKENIZER: write_tokens,
    "parity.html": write_page,
    MANIFEST: write_manifest,
    "stage.onnx": copy_a_stage,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_names_the_file_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    if name == "stage.onnx" and os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    refused = pytest.raises(OutputError, match="File too large")
    with refused as caught, BundleWriter(tmp_path / "b") as writer, files_of_at_most(300):
        WRITERS[name](writer)
    assert f"{name} cannot be written" in caught.value.message
    assert os.listdir(tmp_path) == []


def test_a_full_disk_names_the_weights_beside_a_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "EXTERNAL_DATA_BYTES", 1)
    refused = pytest.raises(OutputError, match=r"rows\.onnx cannot be written: File too large")
    with refused, BundleWriter(tmp_path / "b") as writer, files_of_at_most(5000):
        write_graph(writer)
    assert os.listdir(tmp_path) == []


@pytest.fixture
def reporter() -> Iterator[ConsoleReporter]:
    with ConsoleReporter(Console(quiet=True)) as quiet:
        yield quiet


def test_a_build_on_a_full_disk_is_one_error_and_leaves_nothing(
    tmp_path: Path, reporter: ConsoleReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "tiny", TINY)
    request = Request("tiny", "random:7", stages=("clip_pool",), output=tmp_path)
    with pytest.raises(OutputError, match=r"clip_pool\.onnx cannot be written"), files_of_at_most(2**14):
        build(request, reporter)
    assert os.listdir(tmp_path) == []


def test_a_disk_without_room_is_found_before_any_work(
    tmp_path: Path, reporter: ConsoleReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=5 * 10**6)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda place: usage)
    request = Request("demo", "random:7", stages=("clip_pool",), output=tmp_path / "new")
    with pytest.raises(OutputError, match=r"5\.0 MB of free space, the build needs at least 5\.6 MB"):
        build(request, reporter)
    assert os.listdir(tmp_path) == []


def test_what_is_needed_is_what_the_graphs_hold() -> None:
    """The numbers are sizes of the graphs of a whole build."""
    built = {"captioner": 3.7e6, "features": 22.4e6, "clip_pool": 3.6e6, "text_encoder": 13.3e6}
    for stage, size in built.items():
        found = weights_of(PRESETS["demo"], [stage], used)[stage]
        assert 0.95 * size < 4 * sum(found.values()) < 1.02 * size


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.ENAMETOOLONG]
)
@pytest.mark.parametrize("given", ["in words", "by number", "by a library"])
def test_whatever_is_refused_has_a_reason(number: int, given: str) -> None:
    why = os.strerror(number)
    error = {"in words": OSError(number, why), "by number": OSError(number, ""), "by a library": OSError(why)}
    with pytest.raises(OutputError) as caught, writing("out/x.engine"):
        raise error[given]
    assert caught.value.message == f"out/x.engine cannot be written: {why}"


def test_a_link_to_a_bundle_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "disk" / "real", tmp_path / "b"
    (tmp_path / "disk").mkdir()
    for content in ("first", "second"):
        with BundleWriter(link if link.exists() else real) as writer:
            (writer.folder / MANIFEST).write_text(content)
        link.is_symlink() or link.symlink_to(real)
    assert link.is_symlink()
    assert (real / MANIFEST).read_text() == "second"
    assert sorted(os.listdir(tmp_path)) == ["b", "disk"]
    assert os.listdir(tmp_path / "disk") == ["real"]


@pytest.mark.parametrize("opener", [describe_weights, load_weights])
def test_weights_that_cannot_be_read_say_why(opener: Callable[[str, str], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    cases = {
        "": "an empty value was given",
        str(tmp_path): "is a folder",
        str(tmp_path / "pipe"): "is not a file",
        str(tmp_path / "none.safetensors"): "there is no weights file",
        str(tmp_path / "file" / "w.safetensors"): "cannot be read: Not a directory",
        str(tmp_path / "loop"): "cannot be read: Too many levels of symbolic links",
        str(tmp_path / ("x" * 300)): "cannot be read: File name too long",
        "a\0b": "is not a file name",
    }
    for source, message in cases.items():
        with pytest.raises(WeightsError, match=message):
            opener("demo", source)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user for a moment")
def test_weights_that_may_not_be_read_say_so(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"")
    path.chmod(0)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(WeightsError, match=r"w\.safetensors cannot be read: Permission denied") as caught:
            load_weights("demo", str(path))
    finally:
        os.seteuid(0)
    assert caught.value.hint == "check the permissions"
