"""Pictures on a GPU: the whole TensorRT path on the stand-in, against numpy between engines on the CPU."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from odise_trt import Segmenter
from odise_trt.chains.vectors import PictureSize, picture_tensors
from odise_trt.errors import BackendError, DeviceMemoryError, DeviceMemoryWarning
from odise_trt.result import Result
from odise_trt.task import TASKS, Task
from tests.odise_trt.device.on_stand_in import OTHER_WORDS, WORDS, OnStandIn, assert_same
from tests.stand_in import bundle as stand_in
from tests.stand_in.host import HostMemory
from tests.stand_in.memory import DeviceFaultError
from tests.stand_in.tensorrt import Machine


@pytest.mark.parametrize("crop", [(0, 0, 600, 400), (60, 10, 211, 390), (0, 0, 37, 23)])
def test_all_tasks_equal_those_of_the_cpu(gpu: OnStandIn, host: Segmenter, photo: np.ndarray, crop) -> None:
    left, top, right, bottom = crop
    pixels = photo[top:bottom, left:right]
    assert_same(gpu.segmenter.results(pixels, TASKS), host.results(pixels, TASKS))


def test_thresholds_are_those_of_the_call(gpu: OnStandIn, host: Segmenter, small: np.ndarray) -> None:
    kept = [
        [s.name for s in one(small, object_mask_threshold=0.3, overlap_threshold=0.5).segments]
        for one in (gpu.segmenter, host)
    ]
    assert kept[0] == kept[1]
    assert gpu.segmenter(small, object_mask_threshold=1).segments == []


def test_it_says_what_works_between_engines(gpu: OnStandIn, host: Segmenter) -> None:
    assert gpu.segmenter.runs_on["between engines"] == "engines"
    assert gpu.segmenter.runs_on["CUDA graphs"] == "from the third picture of a size"
    assert host.runs_on["between engines"] == "numpy"


def test_a_picture_goes_up_once_and_ids_and_tables_come_down(gpu: OnStandIn, small: np.ndarray) -> None:
    gpu.segmenter(small)
    counts = gpu.cuda.counts
    uploaded, downloaded, pinned = counts.uploaded, counts.downloaded, counts.pinned
    gpu.segmenter(small)
    queries = gpu.segmenter.bundle.manifest.model.num_queries
    tables = queries * 7 * 4 + queries * 4 + 2 * 4 * 4
    picture = gpu.picture(small).resized.nbytes
    # Each tensor begins at a multiple of 256 bytes.
    assert picture <= counts.uploaded - uploaded <= picture + 3 * 256
    assert 4 * 90 * 90 <= counts.downloaded - downloaded <= 4 * 90 * 90 + tables + 5 * 256
    assert counts.pinned == pinned


def test_the_papers_picture_needs_less_than_8_megabytes() -> None:
    size = PictureSize((1024, 1024), (1024, 1024), (1024, 1024), window=512, clip_side=336)
    vectors = sum(array.nbytes for array in picture_tensors(size).values())
    tables = 100 * 7 * 4 + 100 * 4 + 2 * 4 * 4
    assert 1024 * 1024 * (3 + 4) + vectors + tables < 8_000_000


def test_nothing_runs_and_nothing_is_waited_for_before_the_end(gpu: OnStandIn, small: np.ndarray) -> None:
    gpu.segmenter(small)
    waits, ran = gpu.cuda.counts.waits, len(gpu.machine.ran)
    pending = gpu.chain.begin(gpu.picture(small), gpu.job())
    assert (gpu.cuda.counts.waits, len(gpu.machine.ran)) == (waits, ran)
    pending.outcomes()
    assert gpu.cuda.counts.waits == waits + 1
    assert len(gpu.machine.ran) > ran
    pending.outcomes()
    assert gpu.cuda.counts.waits == waits + 1


def test_pictures_of_one_size_run_from_a_recording_from_the_third_on(
    own: OnStandIn, small: np.ndarray, expected: dict[Task, Result]
) -> None:
    launched = []
    for pixels in (small, small[::-1], small[:, ::-1], small):
        before = own.cuda.counts.launches
        found = own.segmenter.results(pixels, ("panoptic",))
        launched.append(own.cuda.counts.launches - before)
    assert launched == [0, 0, 1, 1]
    assert_same(found, expected, ("panoptic",))
    # The recording of another size takes its place, and no more of them are kept than allowed.
    own.chain._programs.recordings._most = 1
    for _ in range(3):
        own.segmenter(small[:45])
    assert own.cuda.counts.launches == 3
    assert own.cuda.alive()["graphs"] == 1


def test_pictures_on_their_way_do_not_mix(
    own: OnStandIn, small: np.ndarray, expected: dict[Task, Result]
) -> None:
    black = np.zeros_like(small)
    pictures = [small, black, small, black, small]
    pending = [own.chain.begin(own.picture(pixels), own.job()) for pixels in pictures]
    assert own.chain.depth == 2
    found = [one.outcomes()["panoptic"].fields["panoptic"] for one in reversed(pending)]
    for ids in found[::2]:
        assert (ids == expected["panoptic"].panoptic).mean() >= 0.9999
    for ids in found[1::2]:
        assert (ids != expected["panoptic"].panoptic).any()
        np.testing.assert_array_equal(ids, found[1])


def test_another_vocabulary_while_a_picture_is_on_its_way(
    own: OnStandIn, small: np.ndarray, expected: dict[Task, Result]
) -> None:
    first = own.chain.begin(own.picture(small), own.job())
    held = own.cuda.alive()["allocations"]
    own.segmenter.vocabulary = OTHER_WORDS
    second = own.chain.begin(own.picture(small), own.job())
    assert {s.name for s in second.outcomes()["panoptic"].fields["segments"]} <= {"sky", "mountain"}
    assert [(s.name, s.bbox) for s in first.outcomes()["panoptic"].fields["segments"]] == [
        (s.name, s.bbox) for s in expected["panoptic"].segments
    ]
    # The first table is of no use any more, and leaves the device with the next picture.
    del first
    gc.collect()
    own.segmenter(small)
    own.segmenter(small)
    assert own.cuda.alive()["allocations"] <= held + 3


def test_an_engine_that_fails_is_named_and_harms_no_other_picture(
    own: OnStandIn, small: np.ndarray, expected: dict[Task, Result]
) -> None:
    first = own.chain.begin(own.picture(small), own.job())
    own.machine.refuses["mask_head"] = "internal error"
    for _ in range(3):
        with pytest.raises(BackendError, match="stage mask_head: tensorrt could not run: internal error"):
            own.segmenter(small)
    own.machine.refuses.clear()
    assert [s.name for s in first.outcomes()["panoptic"].fields["segments"]] == [
        s.name for s in expected["panoptic"].segments
    ]
    assert_same(own.segmenter.results(small, ("panoptic",)), expected, ("panoptic",))


@pytest.mark.parametrize(
    ("stage", "tensor"),
    [("features", "s2"), ("mask_head", "mask_embed"), ("clip_pool", "clip_mask_embed")],
)
def test_numbers_that_are_not_finite_are_an_error_that_names_the_stage(
    gpu: OnStandIn, small: np.ndarray, stage: str, tensor: str
) -> None:
    gpu.machine.not_finite[stage] = tensor
    try:
        with pytest.raises(
            BackendError, match=f"stage {stage} gave {tensor} with numbers that are not finite"
        ):
            gpu.segmenter(small)
    finally:
        gpu.machine.not_finite.clear()


def test_a_run_that_fails_on_the_gpu_is_an_error_of_its_picture(own: OnStandIn, small: np.ndarray) -> None:
    own.machine.crashes.add("clip_pool")
    pending = own.chain.begin(own.picture(small), own.job())
    for _ in range(2):
        with pytest.raises(BackendError, match="illegal memory access"):
            pending.outcomes()


def test_a_wait_that_is_interrupted_loses_one_picture_only(
    own: OnStandIn, small: np.ndarray, expected: dict[Task, Result]
) -> None:
    pending = own.chain.begin(own.picture(small), own.job())

    def interrupted(event: int) -> None:
        del own.cuda.wait_for
        raise KeyboardInterrupt

    own.cuda.wait_for = interrupted  # the method again when this is deleted
    with pytest.raises(KeyboardInterrupt):
        pending.outcomes()
    with pytest.raises(BackendError, match="was interrupted"):
        pending.outcomes()
    assert_same(own.segmenter.results(small, ("panoptic",)), expected, ("panoptic",))


def test_the_stand_in_sees_a_wait_that_is_missing(own: OnStandIn, small: np.ndarray) -> None:
    own.cuda.wait = lambda stream, event: None
    with pytest.raises(DeviceFaultError, match="at the same time"):
        own.segmenter(small)


def test_closing_frees_everything_even_with_pictures_on_their_way(own: OnStandIn, small: np.ndarray) -> None:
    for _ in range(3):
        own.segmenter(small)
    pending = own.chain.begin(own.picture(small), own.job())
    own.segmenter.close()
    own.segmenter.close()
    assert set(own.cuda.alive().values()) == {0}
    assert len(pending.outcomes()["panoptic"].fields["segments"]) > 0
    with pytest.raises(BackendError, match="the segmenter was closed"):
        own.chain.begin(own.picture(small), own.job())


def test_a_second_segmenter_runs_on_a_second_gpu(
    own: OnStandIn, small: np.ndarray, expected: dict[Task, Result]
) -> None:
    first = own.cuda.alive()
    with own.open("cuda:1") as second:
        assert_same(second.results(small, ("panoptic",)), expected, ("panoptic",))
        assert own.cuda.alive() == first
        assert own.machine.gpus[-1].index == 1
        assert own.segmenter(small).segments != []
    assert set(own.machine.gpus[-1].alive().values()) == {0}


@pytest.mark.parametrize("known", [True, False])
def test_with_little_memory_less_runs_at_once_and_says_so(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: Segmenter,
    small: np.ndarray,
    wide: np.ndarray,
    known: bool,
) -> None:
    own = OnStandIn(folder, monkeypatch, hungry={"features": 50.0})
    with own.segmenter:
        own.segmenter(small)
        (plan,) = own.chain._programs._plans.values()
        # Enough for twice the tensors, but for the scratch memory of one window only.
        own.cuda.space.limit = own.cuda.space.used + 4 * plan.arena.bytes
        if not known:
            own.cuda.claims_free = 2**40
        with pytest.warns(DeviceMemoryWarning, match="little free memory: 1 windows run at once"):
            found = own.segmenter.results(wide, ("panoptic",))
        assert found["panoptic"].provenance["windows per run"] == 1
        assert_same(found, host.results(wide, ("panoptic",)))


def test_too_little_memory_is_an_error_that_says_what_to_do(own: OnStandIn, small: np.ndarray) -> None:
    limit = own.cuda.space.limit
    own.cuda.space.limit = own.cuda.space.used + 2**20
    with pytest.raises(DeviceMemoryError, match=r"needs \d+ MiB, \d+ MiB are free\n.*smaller pictures"):
        own.segmenter(small)
    own.cuda.space.limit = limit
    assert own.segmenter(small).segments != []


def test_memory_that_runs_out_in_a_run_lets_less_run_at_once(own: OnStandIn, wide: np.ndarray) -> None:
    own.segmenter(wide)
    own.machine.refuses["captioner"] = "Cuda failure: out of memory"
    with (
        pytest.warns(DeviceMemoryWarning, match="memory ran out"),
        pytest.raises(BackendError, match="stage captioner"),
    ):
        own.segmenter(wide)
    own.machine.refuses.clear()
    before = len(own.machine.ran)
    assert own.segmenter(wide).provenance["windows per run"] == 1
    ran = [shapes["windows"][0] for stage, shapes in own.machine.ran[before:] if stage == "captioner"]
    assert ran == [1, 1]
    assert own.segmenter.runs_on["at once"] == "up to 1 windows, 1 rows"


def test_a_bundle_without_a_pipeline_runs_with_numpy_between_engines(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small: np.ndarray,
    expected: dict[Task, Result],
) -> None:
    stand_in.install(monkeypatch, Machine())
    old = stand_in.make(source, tmp_path / "old", pipeline=())
    tables = source.parent / "tables"
    with Segmenter.open(old, vocabulary=WORDS, verify="size", cache=tables) as segmenter:
        assert segmenter.runs_on["between engines"] == "numpy"
        assert "the bundle has no pipeline" in segmenter.runs_on["hint"]
        assert_same(segmenter.results(small, ("panoptic",)), expected, ("panoptic",))


def test_onnxruntime_runs_the_same_chain_by_addresses(
    source: Path, monkeypatch: pytest.MonkeyPatch, small: np.ndarray, expected: dict[Task, Result]
) -> None:
    memory = HostMemory()
    monkeypatch.setattr("odise_trt.chains.choose.on_device", lambda backend: (backend, memory))
    tables = source.parent / "tables"
    with Segmenter.open(source, vocabulary=WORDS, verify="size", cache=tables) as segmenter:
        assert segmenter.runs_on["between engines"] == "engines"
        assert segmenter.runs_on["CUDA graphs"] == "not used: this machine has none"
        for _ in range(2):
            assert_same(segmenter.results(small, TASKS), expected)
    assert memory.arrays == {}


@pytest.mark.slow
def test_onnxruntime_runs_groups_by_addresses(
    source: Path, monkeypatch: pytest.MonkeyPatch, small: np.ndarray, expected: dict[Task, Result]
) -> None:
    memory = HostMemory()
    monkeypatch.setattr("odise_trt.chains.choose.on_device", lambda backend: (backend, memory))
    tables = source.parent / "tables"
    with Segmenter.open(
        source, vocabulary=WORDS, verify="size", cache=tables, device="cpu", max_windows=4
    ) as segmenter:
        assert "up to 4 pictures" in segmenter.runs_on["together"]
        pictures = [segmenter._prepare(small).picture] * 4
        job = segmenter._job(TASKS, None, None, "host")
        for pending in segmenter._chain.begin_together(pictures, job):
            fields = pending.outcomes()["panoptic"].fields
            assert (fields["panoptic"] == expected["panoptic"].panoptic).mean() >= 0.9999
    assert memory.arrays == {}


@pytest.mark.slow
def test_photos_and_scenes_at_full_size_equal_those_of_the_cpu(
    demo_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: np.ndarray
) -> None:
    from reference.scenes import SCENE_VOCABULARY, make_scene

    pictures = [photo, photo[:, :150], photo[:60], photo[::4, ::4], np.tile(photo, (3, 3, 1))]
    pictures += [make_scene(seed).image for seed in range(100, 106)]
    own = OnStandIn(stand_in.make(demo_bundle, tmp_path / "stand-in"), monkeypatch)
    with own.segmenter, Segmenter.open(demo_bundle, cache=tmp_path / "tables") as host:
        for number, pixels in enumerate(pictures):
            words = WORDS if number < 5 else SCENE_VOCABULARY
            own.segmenter.vocabulary = host.vocabulary = words
            assert_same(own.segmenter.results(pixels, TASKS), host.results(pixels, TASKS))
