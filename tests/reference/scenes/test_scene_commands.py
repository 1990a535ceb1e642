"""`odise-trt scenes`: slips are one message, and nothing of others is replaced."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reference.datasets import open_dataset
from reference.scenes import make_scene
from reference.scenes.cli import Thing
from reference.scenes.things import THINGS
from tests.door import Done, call, verb


def run(*arguments: object) -> Done:
    return call(verb("reference.scenes.cli:scenes"), "--size", 64, 64, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--count", "0"),
        ("--count", "-3"),
        ("--count", "many"),
        ("--count", "9" * 30),
        ("--size", "3", "3"),
        ("--size", "64", "100000"),
        ("--size", "0", "64"),
        ("--size", "64"),
        ("--seed", "-1"),
        ("--seed", "nan"),
        ("--output", ""),
        ("--output", "s3://bucket/scene.png"),
        ("--count", "2", "--output", "gs://bucket/scenes"),
        ("--without", "unicorn"),
        ("--without",),
        ("rock",),
        ("--count", "2", "--truth"),
        ("--count", "2", "--overwrite"),
    ],
)
def test_what_makes_no_scene_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.status == 2
    assert " Error " in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", ["noext", "scene.xyz", "scene.", "scene.txt", "folder", ".png"])
def test_a_picture_needs_a_suffix_of_a_picture(tmp_path: Path, output: str) -> None:
    (tmp_path / "folder").mkdir()
    done = run("--output", tmp_path / output)
    assert done.status == 1
    assert done.stderr.startswith("OutputError: ")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp", ".bmp", ".tif"])
def test_a_scene_is_written_in_every_format_that_is_offered(tmp_path: Path, suffix: str) -> None:
    done = run("--output", tmp_path / f"a.b{suffix}", "--truth")
    assert done.status == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {f"a.b{suffix}", "a.b.panoptic.png", "a.b.json"}
    with Image.open(tmp_path / f"a.b{suffix}") as image:
        difference = np.asarray(image.convert("RGB")).astype(int) - make_scene(7, 64, 64).image
    assert np.abs(difference).mean() < 12


@pytest.mark.parametrize("name", ["scene.png", "scene.json", "scene.panoptic.png"])
def test_a_file_of_someone_else_is_not_replaced_by_a_scene(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    arguments = ("--output", tmp_path / "scene.png", "--truth")
    done = run(*arguments)
    assert done.status == 1
    assert f"OutputError: {tmp_path / name} exists and holds something else" in done.stderr
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    assert run(*arguments, "--overwrite").status == 0
    # What is the same may be written again.
    assert run(*arguments).status == 0
    assert run(*arguments, "--seed", 8).status == 1


@pytest.mark.parametrize("name", ["images", "panoptic", "captions.json", "panoptic.json"])
def test_a_dataset_is_not_written_into_what_is_there(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    done = run("--count", 1, "--output", tmp_path)
    assert done.status == 1
    assert done.stderr.startswith("OutputError: ")
    assert {path.name for path in tmp_path.iterdir()} == {name, "notes.txt"}


def test_the_same_dataset_twice_is_one_message(tmp_path: Path) -> None:
    assert run("--count", 2, "--output", tmp_path / "mine").status == 0
    assert len(open_dataset("panoptic", tmp_path / "mine")) == 2
    done = run("--count", 2, "--output", tmp_path / "mine")
    assert f"OutputError: {tmp_path / 'mine'} holds a dataset already" in done.stderr


def test_a_file_where_a_dataset_should_go_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("mine")
    done = run("--count", 2, "--output", tmp_path / "photo.jpg")
    assert (done.status, done.stderr.split(":")[0]) == (1, "OutputError")
    assert (tmp_path / "photo.jpg").read_text() == "mine"


def test_a_drawing_that_is_stopped_leaves_nothing(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "reference.scenes", "--count", "5000", "--output", str(tmp_path / "s")]
    process = subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 30
    while not list(tmp_path.glob("s/.odise-trt-*/images/*.png")) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert "stopped by SIGTERM" in process.communicate(timeout=30)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert list((tmp_path / "s").iterdir()) == []


def test_a_disk_that_is_full_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    done = run("--count", 2, "--output", tmp_path / "mine")
    assert done.status == 1
    assert "No space left on device\n  make room" in done.stderr
    assert list((tmp_path / "mine").iterdir()) == []


def test_the_truth_of_a_scene_is_json(tmp_path: Path) -> None:
    run("--output", tmp_path / "scene.png", "--truth")
    rows = json.loads((tmp_path / "scene.json").read_text())
    assert {"id", "name", "area"} <= rows[0].keys()


@pytest.mark.parametrize(
    "without",
    [
        ("--without", "rock", "tree"),
        ("--without", "rock", "--without", "tree"),
        ("--without", "rock", "tree", "--seed", 7),
    ],
)
def test_things_are_left_out_one_or_several(tmp_path: Path, without: tuple[object, ...]) -> None:
    done = run("--output", tmp_path / "scene.png", *without)
    assert done.status == 0, done.stderr
    with Image.open(tmp_path / "scene.png") as image:
        expected = make_scene(7, 64, 64, without=("rock", "tree")).image
        assert np.array_equal(np.asarray(image), expected)
    assert not np.array_equal(expected, make_scene(7, 64, 64).image)


def test_every_thing_can_be_left_out() -> None:
    assert tuple(Thing) == tuple(THINGS)
