"""Contenders run in processes of their own; one that fails is named and the others go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import growth
from benchmarks.contest import alternate, load
from benchmarks.contest.alternate import Rules, contest
from benchmarks.contest.contender import REFERENCE, Contender, contenders
from benchmarks.contest.device import DeviceMeter
from benchmarks.contest.memory import MemoryCurve, thinned
from benchmarks.contest.process import ContenderError, Process
from benchmarks.contest.statistics import percentile, relative_l2, spread, summary
from benchmarks.contest.worker import Worker
from benchmarks.whole import fits_side_by_side
from tests.odise_trt import toy_bundle


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle.make(tmp_path_factory.mktemp("toy") / "toy")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("photo") / "photo.png"
    pixels = np.zeros((128, 256, 3), np.uint8)
    pixels[:, :128, 0] = pixels[:, 128:, 1] = 255
    Image.fromarray(pixels).save(file)
    return file


def entrant(toy: Path, name: str = "toy") -> Contender:
    return Contender(name, str(toy), "demo", "demo", "red; green; blue", 1)


def answering(code: str) -> Sequence[str]:
    """A process that answers every line by a piece of Python."""
    return sys.executable, "-S", "-c", f"import sys, json, time\nfor line in sys.stdin:\n {code}"


def test_an_answer_is_what_the_process_prints() -> None:
    echo = "print(json.dumps(json.loads(line) | {'more': 1}), flush=True)"
    with Process("echo", 20, answering(echo)) as process:
        assert process.ask("segment", image="x") == {"do": "segment", "image": "x", "more": 1}
        assert process.ask("again") == {"do": "again", "more": 1}


def test_an_error_in_the_process_is_an_error_here_with_its_hint() -> None:
    fails = "print(json.dumps({'error': 'no bundle', 'kind': 'BundleError', 'hint': 'build it'}), flush=True)"
    with Process("toy", 20, answering(fails)) as process, pytest.raises(ContenderError) as caught:
        process.ask("open")
    assert caught.value.message == "toy: BundleError: no bundle"
    assert caught.value.hint == "build it"


def test_a_process_that_ends_is_named_with_its_last_words() -> None:
    with (
        Process("toy", 20, answering("sys.exit('out of luck')")) as process,
        pytest.raises(ContenderError, match="toy: its process ended with status 1: out of luck"),
    ):
        process.ask("open")


def test_a_process_without_an_answer_is_stopped() -> None:
    with Process("toy", 0.05, answering("time.sleep(600)")) as process:
        with pytest.raises(ContenderError, match=r"toy gave no answer in 0.05 seconds"):
            process.ask("open")
        with pytest.raises(ContenderError, match="its process ended"):
            process.ask("segment")


def test_a_worker_answers_every_request(toy: Path, photo: Path, tmp_path: Path) -> None:
    worker = Worker()
    opened = worker.answer({"do": "open", "contender": asdict(entrant(toy))})
    assert opened["runs_on"]["device"] == "cpu"
    found = worker.answer({"do": "segment", "image": str(photo), "folder": str(tmp_path)})
    stages = ["preprocess", "captioner", "features", "stitch", "mask_head", "clip_pool", "classify"]
    assert list(found["stages"]) == [*stages, "panoptic", "semantic", "instance", "encode"]
    assert sum(found["stages"].values()) <= found["total_seconds"]
    assert found["seconds"] + found["stages"]["encode"] == pytest.approx(found["total_seconds"])
    assert (tmp_path / "result.panoptic.png").exists()
    assert "total_seconds" in worker.answer(
        {"do": "stream", "images": [str(photo)], "folder": str(tmp_path / "folder")}
    )
    assert worker.answer({"do": "words", "names": ["red", "green"]}).keys() == {"seconds"}
    assert worker.answer({"do": "vocabulary", "source": "red; green; blue"}).keys() == {"seconds"}
    assert worker.answer({"do": "memory_used"})["peak_bytes"] > 1e6
    assert worker.answer({"do": "outcome", "image": str(photo), "folder": str(tmp_path)}) == {}
    ids, masks = np.load(tmp_path / "panoptic.npy"), np.load(tmp_path / "masks.npy")
    assert ids.shape == masks.shape[1:] == (128, 256)
    assert ids[5, 5] != ids[5, 250]


def test_what_goes_wrong_in_a_worker_is_its_answer(tmp_path: Path) -> None:
    missing = Worker().answer({"do": "open", "contender": asdict(entrant(tmp_path / "gone"))})
    assert missing["kind"] == "BundleError"
    assert Worker().answer({"do": "segment", "image": "x", "folder": "y"})["kind"] == "AttributeError"


def test_contenders_alternate_and_one_that_fails_is_not_run(toy: Path, photo: Path) -> None:
    told: list[str] = []
    wrong = Contender("gone", str(toy), "demo", "demo", "a; a", 1)
    entrants = [entrant(toy), entrant(toy, "again"), wrong]
    rows = contest(entrants, photo, Rules(rounds=3, warmup=0), lambda what, share: told.append(what))
    first, second, third = rows
    assert [what for what in told if what.startswith("round")] == [
        f"round {turn}: {name}" for turn in (1, 2, 3) for name in ("toy", "again")
    ]
    assert first["runs"] == second["runs"] == 3
    assert 0 < first["memory"]["marks"]["opened"] < first["memory"]["marks"]["segmented"]
    assert max(first["memory"]["bytes"]) <= first["peak_bytes"]
    assert "memory" not in third
    assert second["compared_with"] == "toy"
    assert (second["panoptic_agreement"], second["masks_relative_l2"]) == (1.0, 0.0)
    assert second["streaming_fps"] > 0
    assert second["batch_4_fps"].keys() == {"not_measured"}
    assert "VocabularyError" in third["not_run"]
    assert "end_to_end" not in third
    json.dumps(rows)


def test_a_curve_keeps_the_peak_and_the_end_of_many_samples() -> None:
    samples = [(number / 20, number % 97) for number in range(1000)]
    kept = thinned(samples, 100)
    assert len(kept) <= 100
    assert kept == sorted(kept)
    assert max(size for _, size in kept) == 96
    assert kept[-1] == samples[-1]
    assert thinned(samples[:100], 100) == samples[:100]


def test_memory_that_a_process_takes_is_on_its_curve() -> None:
    # A new process: this one may reuse memory that it has.
    takes = "held = b'1' * 2**26; print(len(held), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", takes], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        curve = MemoryCurve(process.pid)
        while not curve.samples:
            time.sleep(0.01)
        found = curve.stop()
        process.communicate("\n")
    assert found is not None
    assert 2**26 <= max(found["bytes"]) < 2**28
    assert curve.stop() == found


def test_a_process_that_is_gone_has_no_curve() -> None:
    assert MemoryCurve(2**22 + 1).stop() is None


def test_percentiles_are_interpolated_between_neighbours() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert percentile([7.0], 0.99) == 7.0
    assert spread(range(101)) == {"min": 0, "p50": 50.0, "p90": 90.0, "p99": 99.0}


def test_the_summary_leaves_other_tasks_out_of_a_panoptic_run() -> None:
    sample = {
        "stages": {"features": 1.0, "panoptic": 0.25, "semantic": 0.5, "instance": 0.125, "encode": 2.0},
        "seconds": 2.0,
        "cpu_seconds": 3.0,
        "total_seconds": 4.0,
        "total_cpu_seconds": 5.0,
        "foreign": 0.5,
    }
    found = summary([sample, sample | {"foreign": None}])
    assert found["panoptic_saved"]["p50"] == 3.375
    assert found["stages"]["encode"]["p99"] == 2.0
    assert found["foreign"] == 0.5
    assert found["runs"] == 2


def test_the_distance_of_masks_is_relative_to_the_expected() -> None:
    expected = np.array([[3.0, 0.0], [0.0, 4.0]], np.float32)
    assert relative_l2(expected + np.float32(0.5), expected) == pytest.approx(1 / 5)
    assert relative_l2(np.zeros((1, 2)), np.zeros((1, 2))) == 0.0


def test_busy_seconds_are_work_and_stolen_time_without_waiting(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 20 30 4000 500 6 7 8 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    assert load.busy_seconds(stat) == pytest.approx((100 + 20 + 30 + 6 + 7 + 8) / 100)
    assert load.busy_seconds(tmp_path / "none") is None
    assert load.process_seconds(2**30) == 0.0


def test_a_machine_is_busy_from_a_tenth_of_its_processors_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert not load.is_busy(0.4)
    assert load.is_busy(0.41)
    assert not load.is_busy(None)


def test_a_machine_without_nvml_says_why_nothing_is_measured() -> None:
    def gone() -> None:
        raise ImportError

    meter = DeviceMeter(gone)
    assert isinstance(meter.memory(1), dict)
    assert meter.joules() is None
    assert meter.clocks() == []
    assert meter.missing


def test_the_longest_list_of_words_has_ten_thousand_different_ones() -> None:
    words = growth.word_list(growth.WORDS[-1])
    assert len(set(words)) == len(words) == 10_000
    assert growth.word_list(20) == words[:20]
    with pytest.raises(ValueError, match="words, not"):
        growth.word_list(10**6)


def test_contenders_are_the_reference_first_and_then_bundles_by_name(tmp_path: Path) -> None:
    folders = [tmp_path / "a" / "demo", tmp_path / "b" / "demo", tmp_path / "other", tmp_path / "other"]
    found = contenders(
        ["batched", "batched"], folders, preset="demo", weights="demo", vocabulary="cat", threads=2
    )
    assert [one.name for one in found] == ["batched", "a/demo", "b/demo", "other"]
    assert found[0].technique == REFERENCE["batched"]


def test_contenders_are_measured_side_by_side_only_if_they_fit(toy: Path) -> None:
    assert fits_side_by_side([entrant(toy)] * 3, free=3 * 10**9)
    assert not fits_side_by_side([entrant(toy)] * 3, free=2 * 10**9)
    paper = contenders(
        ["official"], [], preset="odise-label", weights="random:0", vocabulary="coco", threads=2
    )
    assert not fits_side_by_side(paper, free=11 * 10**9)
    assert fits_side_by_side(paper, free=12 * 10**9)


def test_a_folder_of_pictures_that_take_long_is_not_run(tmp_path: Path) -> None:
    asked = []

    def ask(do: str, **_: object) -> dict[str, int]:
        asked.append(do)
        return {"peak_bytes": 7}

    process: Any = SimpleNamespace(number=os.getpid(), ask=ask)
    contest = alternate._Contest([], tmp_path / "photo.jpg", Rules(), tmp_path, lambda *_: None)
    found = contest._further("a", process, 41.0)
    assert asked == ["memory_used"]
    assert found["peak_bytes"] == 7
    assert "a picture takes 41 s" in found["streaming_fps"]["not_measured"]
