"""The parts of the GPU benchmark that measure bundles, on the stand-in for TensorRT and CUDA.

It records and replays, and its engines run in ONNX Runtime: results are real, and times say nothing of a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.gpu import bundles, categories, kernels, runtime, stages
from benchmarks.gpu.programs import Taken, at_stage, programs_given_to, runs_of, stage_names, stages_of
from benchmarks.gpu.recorded import recorded_and_queued
from benchmarks.gpu.sections import Bench
from odise_trt import Segmenter
from odise_trt.bundle.manifest import Manifest
from odise_trt.errors import BackendError
from tests.odise_trt.device.on_stand_in import OnStandIn
from tests.stand_in import bundle as stand_in


@pytest.fixture(scope="module")
def folder(demo_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo bundle on the stand-in, with pictures of one window."""
    model = replace(Manifest.read(demo_bundle).model, short_side=128, max_side=256)
    place = tmp_path_factory.mktemp("engines")
    return stand_in.make(stand_in.copy(demo_bundle, place / "host", model=model), place / "stand-in")


@pytest.fixture
def small(root: Path) -> np.ndarray:
    with Image.open(root / "assets" / "photo.jpg") as photo:
        return np.array(photo.convert("RGB").resize((90, 90)))


@pytest.fixture(autouse=True)
def _few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "_LEAST", 1)
    monkeypatch.setattr(bundles, "_STREAMED", 4)


@pytest.fixture
def own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OnStandIn]:
    made = OnStandIn(folder, monkeypatch)
    with made.segmenter:
        yield made


@pytest.fixture
def on_it(own: OnStandIn, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench whose bundles are opened on the stand-in."""
    real = Segmenter.open

    def opened(folder: str, **options: Any) -> Segmenter:
        return real(folder, **{**options, "device": None})

    monkeypatch.setattr(bundles.Segmenter, "open", opened)
    cpu = torch.device("cpu")
    return Bench("demo", "random:0", cpu, ((90, 90),), "cup; table", 3, 0.0, engines=(str(own.folder),))


def test_recorded_and_queued_take_turns(own: OnStandIn, small: np.ndarray) -> None:
    found = recorded_and_queued(own.segmenter, small, 0.0)
    assert found["rounds"] == 3
    assert found["agreement"] == 1.0
    assert found["ratio"] > 0
    # Two of the four pictures before are launched, then every second one.
    assert own.cuda.counts.launches == 2 + 3
    assert own.cuda.counts.recorded == 1


def test_every_step_has_a_time_and_a_picture_is_what_it_was(on_it: Bench) -> None:
    ((_, one),) = runtime.runtime(on_it)
    assert list(one["steps"])[:2] == ["cut", "captioner"]
    assert one["steps"].keys() == one["host_seconds_to_queue"].keys()
    assert all(one["steps"][stage] >= spent for stage, spent in one["host_seconds_to_queue"].items())
    assert one["recording"]["agreement"] == one["agreement_of_runs"] == 1.0


def test_every_stage_is_a_graph_of_its_own_that_is_replayed(
    own: OnStandIn, on_it: Bench, small: np.ndarray
) -> None:
    expected = own.segmenter(small)
    found = list(stages._on_device(own.segmenter, small, on_it))
    steps = [step.stage for step in own.segmenter.bundle.manifest.pipeline if "panoptic" in step.tasks]
    assert [one.stage for one in found][:2] == ["cut", "captioner"]
    assert {one.stage for one in found} >= set(steps)
    for one in found:
        assert one.numbers["how"] == "CUDA graph", one.stage
        assert one.numbers["launches"] == len(one.runs)
    # And the whole picture, which is recorded by the second of its size and launched by those after it.
    assert own.cuda.counts.recorded == len(found) + 1
    assert own.cuda.counts.launches == 5 * len(found) + 2
    assert len(own.cuda.graphs) == 1
    assert (own.segmenter(small).panoptic == expected.panoptic).all()


def test_a_stage_that_cannot_be_recorded_says_why_and_is_timed_all_the_same(
    own: OnStandIn, on_it: Bench, small: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        own.cuda, "begin_recording", lambda: (_ for _ in ()).throw(BackendError("no graphs here"))
    )
    for one in stages._on_device(own.segmenter, small, on_it):
        assert one.numbers["how"] == "queued, not recorded: no graphs here"
        assert one.numbers["seconds"] > 0


def test_inputs_of_a_stage_are_those_of_the_picture(own: OnStandIn, on_it: Bench, small: np.ndarray) -> None:
    names = stage_names(own.segmenter, small)
    calls = {
        stage: at_stage(own.segmenter, small, number, partial(kernels._first_call, stage))
        for number, stage in enumerate(names)
    }
    seen: dict[str, np.ndarray] = {}

    def run(taken: Taken) -> None:
        for stage, piece in stages_of(taken.program):
            piece.queue(taken.cuda)
            if stage == "captioner":
                windows = runs_of(piece)[0].inputs["windows"]
                seen[stage] = np.empty(windows.shape, windows.dtype)
                taken.cuda.synchronize()
                taken.cuda.fetch(seen[stage], windows.address)

    with programs_given_to(run):
        own.segmenter(small)
    assert np.array_equal(calls["captioner"].inputs["windows"], seen["captioner"])
    assert np.ptp(seen["captioner"]) > 0
    assert all(np.isfinite(array).all() for one in calls.values() for array in one.inputs.values())


def test_most_categories_go_row_by_row(on_it: Bench) -> None:
    ((name, one),) = categories.categories(on_it, "20000")
    assert name == "stand-in, 90x90, 20000 categories"
    assert (one["rows_per_run"], one["runs_of_semantic"]) == (1, 90)
    assert one["categories_found"] > 1


@pytest.mark.filterwarnings("ignore:CUDA is not available:UserWarning")
def test_a_profiler_that_sees_no_kernel_is_an_error_and_not_a_zero(own: OnStandIn, small: np.ndarray) -> None:
    stage_names(own.segmenter, small)
    with pytest.raises(BackendError, match="has seen no kernel"):
        at_stage(own.segmenter, small, 0, kernels._profiled)
    assert own.segmenter(small).segments != []
