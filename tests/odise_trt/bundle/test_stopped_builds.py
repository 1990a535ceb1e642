"""What stopped builds leave beside bundles is listed, verified and removed."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from export.finished import keep_finished
from odise_trt.bundle.manifest import Manifest
from odise_trt.bundle.stopped_builds import damage, prune, stopped_builds
from odise_trt.errors import OutputError
from tests.door import call, verb
from tests.odise_trt import toy_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a bundle, and with what a stopped build of another one left."""
    toy_bundle.make(tmp_path / "done")
    toy_bundle.make(tmp_path / "whole")
    manifest = Manifest.read(tmp_path / "whole")
    of_stages = {name for entry in manifest.stages for name in (entry.file, *entry.files)}
    files = {name: facts for name, facts in manifest.files.items() if name in of_stages}
    keep_finished(tmp_path / "NAME", tmp_path / "whole", replace(manifest, files=files))
    shutil.rmtree(tmp_path / "whole")
    (tmp_path / ".NAME.onnx-123").mkdir()
    (tmp_path / ".NAME.onnx-123" / "half.onnx").write_bytes(b"x" * 1000)
    (tmp_path / ".NAME.lock").touch()
    (tmp_path / ".NAME.holder").write_text("process 1 on here, since ever")
    return tmp_path


@pytest.fixture
def running(folder: Path) -> Iterator[Path]:
    with (folder / ".NAME.lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield folder


def test_a_stopped_build_is_found_with_its_finished_stages(folder: Path) -> None:
    (build,) = stopped_builds(folder)
    assert build.bundle == folder / "NAME"
    assert "captioner" in build.stages
    assert not build.runs
    assert build.bytes > 1000


def test_a_file_under_two_names_counts_once(folder: Path) -> None:
    (before,) = stopped_builds(folder)
    os.link(folder / ".NAME.onnx-123" / "half.onnx", folder / ".NAME.stages" / "half.onnx")
    assert stopped_builds(folder) == [before]


def test_a_folder_without_any_has_none(tmp_path: Path) -> None:
    toy_bundle.make(tmp_path / "done")
    assert stopped_builds(tmp_path) == []
    assert stopped_builds(tmp_path / "not there") == []


def test_pruning_removes_it_and_leaves_bundles(folder: Path) -> None:
    (build,) = stopped_builds(folder)
    prune(build)
    assert os.listdir(folder) == ["done"]


def test_a_build_that_runs_is_not_pruned(running: Path) -> None:
    (build,) = stopped_builds(running)
    assert build.runs
    with pytest.raises(OutputError, match="runs now"):
        prune(build)
    assert (running / ".NAME.stages").is_dir()


def test_a_changed_byte_of_a_finished_stage_is_found(folder: Path) -> None:
    (build,) = stopped_builds(folder)
    assert damage(build) == {}
    file = next((folder / ".NAME.stages").glob("*.onnx"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert list(damage(build)) == [file.name]


def test_nothing_finished_is_nothing_damaged(folder: Path) -> None:
    shutil.rmtree(folder / ".NAME.stages")
    (build,) = stopped_builds(folder)
    assert (build.stages, damage(build)) == ((), {})


CACHE = "odise_trt.cli.cache:cache"


def test_the_verb_lists_verifies_and_prunes(folder: Path) -> None:
    assert "NAME: a build was stopped; captioner" in call(verb(CACHE), folder).stdout
    assert call(verb(CACHE), "list", folder).stdout == call(verb(CACHE), folder).stdout
    assert "finished stages are as they were written" in call(verb(CACHE), "verify", folder).stdout
    file = next((folder / ".NAME.stages").glob("*.onnx"))
    file.write_bytes(b"?")
    done = call(verb(CACHE), "verify", folder)
    assert done.status == 1
    assert file.name in done.stderr
    assert "removed what a stopped build left" in call(verb(CACHE), "prune", folder).stdout
    assert "nothing to remove" in call(verb(CACHE), "prune", folder).stdout


def test_the_verb_finds_the_first_build_of_a_folder_when_it_was_stopped(folder: Path) -> None:
    shutil.rmtree(folder / "done")
    assert "NAME: a build was stopped" in call(verb(CACHE), folder).stdout
    assert "finished stages are as they were written" in call(verb(CACHE), "verify", folder).stdout
    assert "removed what a stopped build left" in call(verb(CACHE), "prune", folder).stdout
    assert call(verb(CACHE), folder).status == 1


def test_the_verb_leaves_a_build_that_runs_alone(running: Path) -> None:
    assert "is being built" in call(verb(CACHE), running).stdout
    assert "left alone" in call(verb(CACHE), "prune", running).stdout
    assert (running / ".NAME.stages").is_dir()
