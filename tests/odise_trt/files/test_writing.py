"""The writer: files appear whole or not at all, and what the system refuses names the thing."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from odise_trt.errors import OutputError
from odise_trt.files.temporary import temporary_name
from odise_trt.files.writing import (
    put_in_place,
    replacing,
    unfinished,
    unfinished_folder,
    write_file,
    write_together,
    writing,
)
from tests.full_disk import files_of_at_most
from tests.leftovers import name_of_a_dead_process


def by_file(path: Path) -> None:
    with replacing(path) as file:
        file.write(b"x" * 5000)


def by_name(path: Path) -> None:
    with unfinished(path) as temporary:
        temporary.write_bytes(b"x" * 5000)


def at_once(path: Path) -> None:
    write_file(path, b"x" * 5000)


def with_others(path: Path) -> None:
    write_together(path.parent, {path.name: b"x" * 5000})


WAYS: list[Callable[[Path], None]] = [by_file, by_name, at_once, with_others]


@pytest.mark.parametrize("write", WAYS)
def test_every_way_replaces_a_file_whole_and_leaves_nothing_beside_it(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    write(path)
    assert path.read_bytes() == b"x" * 5000
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("write", WAYS)
def test_every_way_leaves_the_old_file_where_the_disk_is_full_and_names_it(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(OutputError) as caught, files_of_at_most(1000):
        write(path)
    assert caught.value.message == f"{path} cannot be written: File too large"
    assert caught.value.refused is not None
    assert caught.value.refused.errno == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("write", WAYS)
def test_every_way_says_that_a_folder_is_none(write: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file is not a folder"):
        write(tmp_path / "file" / "a.bin")


@pytest.mark.parametrize("write", WAYS)
def test_every_way_flushes_the_content_before_the_file_has_its_name(
    write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, bool]] = []
    flush = os.fsync

    def noting(descriptor: int) -> None:
        seen.append((os.fstat(descriptor).st_size, (tmp_path / "a.bin").exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    write(tmp_path / "a.bin")
    assert seen == [(5000, False)]


def test_a_file_may_be_read_by_whoever_may_read_the_others(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    with unfinished(tmp_path / "a.bin") as temporary:
        # As a library does that writes a private file and renames it.
        (tmp_path / "private").touch(mode=0o600)
        (tmp_path / "private").replace(temporary)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_file_removes_what_a_killed_process_left_beside_it(tmp_path: Path) -> None:
    (tmp_path / name_of_a_dead_process()).write_bytes(b"half")
    write_file(tmp_path / "a.bin", b"whole")
    assert os.listdir(tmp_path) == ["a.bin"]


def test_the_outermost_block_names_the_thing(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError) as caught,
        writing(tmp_path / "bundle", lambda error: f"hint for {error.errno}"),
        files_of_at_most(10),
    ):
        write_file(tmp_path / "temporary" / "a.bin", b"x" * 100)
    assert caught.value.message == f"{tmp_path / 'bundle'} cannot be written: File too large"
    assert caught.value.hint == f"hint for {errno.EFBIG}"
    assert caught.value.__cause__ is caught.value.refused


def test_an_error_that_is_not_of_the_system_passes_through_unchanged(tmp_path: Path) -> None:
    error = OutputError("it is somebody's", "move it away")
    with pytest.raises(OutputError) as caught, writing(tmp_path / "a.bin"):
        raise error
    assert caught.value is error


def test_a_finished_folder_gets_its_name_with_all_that_is_in_it(tmp_path: Path) -> None:
    with unfinished_folder(tmp_path) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "a.txt").write_text("a")
        (folder / "link").symlink_to("nowhere")
        assert not (tmp_path / "done").exists()
        put_in_place(folder, tmp_path / "done")
    assert (tmp_path / "done" / "inner" / "a.txt").read_text() == "a"
    assert os.listdir(tmp_path) == ["done"]


def test_a_folder_that_is_not_finished_is_removed(tmp_path: Path) -> None:
    def interrupted() -> None:
        with unfinished_folder(tmp_path) as folder:
            (folder / "half").write_text("a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == []


def test_a_folder_in_the_making_is_left_alone_while_its_process_lives(tmp_path: Path) -> None:
    with unfinished_folder(tmp_path) as folder:
        write_file(tmp_path / "a.bin", b"whole")
        assert folder.is_dir()
    assert temporary_name() != temporary_name()
