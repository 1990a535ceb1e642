"""Benchmarks look at what they are given before they measure, and replace no file of others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.cli import _FORMS, ContenderName
from benchmarks.command import Form
from benchmarks.contest.contender import REFERENCE
from benchmarks.record import check_place, write_record
from benchmarks.synonyms import _pq
from odise_trt.errors import OutputError
from tests.door import Done, call, verb
from tests.odise_trt import toy_bundle

#: The older doors, and what is behind them.
VERBS = {"stages": "stages", "words": "synonyms", "mistakes": "confusion"}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photo.png"
    Image.new("RGB", (128, 128), "red").save(file)
    return file


def run(name: str, *arguments: object) -> Done:
    return call(verb("benchmarks.cli:app", VERBS[name]), *arguments)


def test_every_contender_can_be_chosen() -> None:
    assert tuple(Form) == tuple(REFERENCE)
    assert {ContenderName.engines, *_FORMS} == set(ContenderName)
    assert set(_FORMS.values()) < set(REFERENCE)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("words", ("--count", "0")),
        ("words", ("--count", "-3")),
        ("words", ("--threads", "0")),
        ("words", ("--output", "")),
        ("mistakes", ("--count", "0")),
        ("mistakes", ("--count", "10000000000")),
        ("mistakes", ("--output", "")),
        ("stages", ("--engines", "", "--image", "x.jpg")),
        ("stages", ("--engines", "e", "--image", "x.jpg", "--repeats", "0")),
        ("stages", ("--engines", "e", "--image", "x.jpg", "--warmup", "-1")),
        ("stages", ("--engines", "e", "--image", "x.jpg", "--contender", "nobody")),
        ("stages", ("--engines", "e", "--image", "x.jpg", "--output", "")),
        ("stages", ("--image", "x.jpg")),
    ],
)
def test_options_that_measure_nothing_are_usage_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(name, *arguments).status == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--reference", "nobody"),
        ("--rounds", "0"),
        ("--threads", "0"),
        ("--json", ""),
        ("--engines", ""),
        ("nothing",),
    ],
)
def test_options_of_the_whole_benchmark_that_measure_nothing_are_usage_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(verb("benchmarks.cli:app"), *arguments).status == 2
    assert list(tmp_path.iterdir()) == []


def test_the_whole_benchmark_says_how_to_build_a_bundle_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(verb("benchmarks.cli:app"), "--json", "out.json")
    assert done.status == 1
    assert "BundleError: engines/demo-onnxruntime-fp32 does not exist" in done.stderr
    assert "odise-trt build --preset demo --backend onnxruntime" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_whole_benchmark_replaces_no_file_of_others(tmp_path: Path) -> None:
    bundle = toy_bundle.make(tmp_path / "toy")
    (tmp_path / "bench-growth.png").write_text("mine")
    done = call(verb("benchmarks.cli:app"), "--engines", bundle, "--output", tmp_path)
    assert done.status == 1
    assert "bench-growth.png exists, and it is not a picture of the benchmark" in done.stderr
    done = call(verb("benchmarks.cli:app"), "--engines", bundle, "--json", tmp_path / "bench-growth.png")
    assert "is not a record of this benchmark" in done.stderr
    assert (tmp_path / "bench-growth.png").read_text() == "mine"


def test_the_whole_benchmark_writes_record_tables_and_pictures(tmp_path: Path, photo: Path) -> None:
    bundle = toy_bundle.make(tmp_path / "toy")
    record = tmp_path / "out.json"
    words = (
        "--engines",
        bundle,
        "--image",
        photo,
        "--vocab",
        "red; green",
        "--no-reference",
        "--rounds",
        "1",
    )
    done = call(verb("benchmarks.cli:app"), *words, "--no-growth", "--json", record, "--output", tmp_path)
    assert done.status == 0, done.stderr
    found = json.loads(record.read_text())
    assert found["job"]["engines"] == ["toy"]
    assert found["job"]["image"] == photo.name
    (row,) = found["contenders"]
    assert row["technique"] == "toy"
    assert row["end_to_end"]["min"] > row["segmentation"]["min"] > 0
    assert found["machine"]["before"].keys() == {"cpu_mhz", "governor", "load_average", "gpu_clocks"}
    assert "features" in done.stdout
    for name in ("waterfall", "memory"):
        with Image.open(tmp_path / f"bench-{name}.png") as picture:
            assert picture.width == 1600
    assert not (tmp_path / "bench-growth.png").exists()


def test_stages_prints_the_stages_of_the_bundle(tmp_path: Path, photo: Path) -> None:
    bundle = toy_bundle.make(tmp_path / "toy")
    words = ("--engines", bundle, "--image", photo, "--vocab", "red; green", "--contender", "engines")
    done = run("stages", *words, "--repeats", "1", "--warmup", "0", "--output", tmp_path / "out.json")
    assert done.status == 0, done.stderr
    assert "mask_head" in done.stdout
    assert json.loads((tmp_path / "out.json").read_text())["job"]["rules"]["one_by_one"] is True


def test_a_bundle_that_is_not_there_is_one_message(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.jpg")
    done = run("stages", "--engines", "/nowhere", "--image", tmp_path / "photo.jpg")
    assert done.status == 1
    assert done.stderr.startswith("BundleError: ")


@pytest.mark.parametrize("name", ["words", "mistakes"])
def test_a_place_that_cannot_be_written_is_named_before_anything_is_measured(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "photo.jpg").write_text("mine")
    done = run(name, "--output", tmp_path / "photo.jpg")
    assert done.status == 1
    assert f"OutputError: {tmp_path / 'photo.jpg'} is not a folder" in done.stderr
    (tmp_path / f"{name}.json").write_text('{"mine": 1}')
    done = run(name, "--output", tmp_path)
    assert f"OutputError: {tmp_path / name}.json is not a record of this benchmark" in done.stderr
    assert (tmp_path / f"{name}.json").read_text() == '{"mine": 1}'


@pytest.mark.parametrize("content", ["", "{", "[]", '{"scenes": 3}', "null"])
def test_a_record_replaces_its_own_kind_alone(tmp_path: Path, content: str) -> None:
    path, record = tmp_path / "words.json", {"scenes": 1, "models": {}}
    write_record(path, record)
    write_record(path, record)
    check_place(path, frozenset(record))
    path.write_text(content)
    with pytest.raises(OutputError, match="is not a record of this benchmark"):
        write_record(path, record)
    assert path.read_text() == content


@pytest.mark.parametrize("name", VERBS)
def test_a_package_that_is_missing_is_one_line_with_its_extra(root: Path, tmp_path: Path, name: str) -> None:
    probe = (
        "import runpy, sys\n"
        "class Gone:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('torch', 'psutil'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Gone())\n"
        f"runpy.run_module('benchmarks.{name}', run_name='__main__')"
    )
    arguments = ["--help"] if name == "stages" else ["--count", "1", "--output", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", probe, *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    if name == "stages":
        # It is the processes it starts that need them.
        assert done.returncode == 0
        return
    assert done.returncode == 1
    assert "the package torch is not installed" in done.stderr
    assert "pip install -e" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_scenes_without_a_kind_of_thing_have_no_number_for_it() -> None:
    assert _pq([{"PQ": None}]) is None
    assert _pq([{"PQ": 50.0}, {"PQ": None}, {"PQ": 100.0}]) == 75.0
