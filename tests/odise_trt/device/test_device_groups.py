"""Several pictures at once on the stand-in: each gets what it gets alone, whatever happens to the others."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from odise_trt import ImageError, Streamed
from odise_trt.errors import BackendError, DeviceMemoryWarning
from odise_trt.result import Result
from odise_trt.task import TASKS, Task
from tests.odise_trt.device.on_stand_in import OTHER_WORDS, OnStandIn
from tests.odise_trt.streaming.parts import ReadAhead
from tests.stand_in.arrays import ByDLPack


@pytest.fixture(autouse=True)
def read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr("odise_trt.segmenter.Reader", ReadAhead)


@pytest.fixture(scope="module")
def small(small: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(small[::2, ::2])


@pytest.fixture(scope="module")
def pictures(small: np.ndarray) -> list[np.ndarray]:
    """Of one size, with one window each."""
    return [small, small[::-1], 255 - small] * 3


@pytest.fixture(scope="module")
def alone(gpu: OnStandIn, pictures: list[np.ndarray]) -> list[dict[Task, Result]]:
    """What each is by a call."""
    return [gpu.segmenter.results(one, TASKS) for one in pictures[:3]] * 3


def windows_of_runs(on: OnStandIn, stage: str = "features") -> list[int]:
    """How many windows each run of a stage had. Runs are forgotten then."""
    found = [shapes["windows"][0] for name, shapes in on.machine.ran if name == stage]
    on.machine.ran.clear()
    return found


def assert_equal(found: Sequence[Streamed], expected: Sequence[dict[Task, Result]]) -> None:
    """The same in every pixel and every number."""
    for one, other in zip(found, expected, strict=True):
        assert one.error is None
        for task, result in one.results.items():
            same = other[task]
            if task == "instance":
                assert [i.score for i in result.instances] == [i.score for i in same.instances]
                for a, b in zip(result.instances, same.instances, strict=True):
                    np.testing.assert_array_equal(a.mask, b.mask)
            else:
                np.testing.assert_array_equal(getattr(result, task), getattr(same, task))
            if task == "panoptic":
                assert result.segments == same.segments


def test_eight_pictures_of_one_window_take_two_runs_of_four_windows(
    own: OnStandIn, pictures: list[np.ndarray], alone: list[dict[Task, Result]]
) -> None:
    with own.open(max_windows=4) as segmenter:
        assert (
            segmenter.runs_on["together"] == "in a stream, up to 4 pictures of one size with one window each"
        )
        found = list(segmenter.stream(pictures[:8], TASKS))
    ran = [stage for stage, _ in own.machine.ran]
    assert (ran.count("captioner"), ran.count("mask_head")) == (2, 8)
    assert windows_of_runs(own) == [4, 4]
    assert_equal(found, alone[:8])


@pytest.mark.slow
def test_pictures_of_several_sizes_keep_their_order_and_run_with_those_beside_them(
    gpu: OnStandIn, small: np.ndarray, wide: np.ndarray
) -> None:
    wide = wide[::2, ::2]
    given = [small, small[::-1], small, wide, wide[::-1], small[:, :20], small]
    expected = [gpu.segmenter.results(one, ("semantic",)) for one in given]
    windows_of_runs(gpu)
    found = list(gpu.segmenter.stream(given, "semantic"))
    assert_equal(found, expected)
    # A group has one, two, four... pictures, or the most.
    assert windows_of_runs(gpu) == [2, 1, 4, 2, 1]


@pytest.mark.slow
def test_pictures_with_as_many_windows_as_a_run_takes_run_alone(own: OnStandIn, wide: np.ndarray) -> None:
    with own.open(max_windows=2) as segmenter:
        assert all(one.error is None for one in segmenter.stream([wide, wide, wide]))
    assert windows_of_runs(own) == [2, 2, 2]
    with own.open(max_windows=1) as segmenter:
        assert segmenter.runs_on["together"] == "each picture alone"


def test_a_picture_that_cannot_be_read_leaves_the_others_together(
    gpu: OnStandIn, pictures: list[np.ndarray], alone: list[dict[Task, Result]]
) -> None:
    windows_of_runs(gpu)
    found = list(gpu.segmenter.stream([pictures[0], "gone.jpg", pictures[1]]))
    assert windows_of_runs(gpu) == [2]
    assert isinstance(found[1].error, ImageError)
    assert_equal(found[::2], alone[:2])


def test_numbers_that_are_not_finite_are_the_error_of_their_picture(
    gpu: OnStandIn, pictures: list[np.ndarray], alone: list[dict[Task, Result]]
) -> None:
    gpu.machine.not_finite["clip_pool"], gpu.machine.spares["clip_pool"] = "clip_mask_embed", 1
    try:
        found = list(gpu.segmenter.stream(pictures[:2]))
    finally:
        gpu.machine.not_finite.clear()
    assert_equal(found[:1], alone[:1])
    assert "stage clip_pool gave clip_mask_embed with numbers that are not finite" in str(found[1].error)


def test_pictures_of_a_group_that_cannot_be_queued_run_alone(
    own: OnStandIn, pictures: list[np.ndarray], alone: list[dict[Task, Result]]
) -> None:
    own.machine.refuses["features"], own.machine.refuses_above["features"] = "internal error", 1
    found = list(own.segmenter.stream(pictures[:2]))
    assert windows_of_runs(own) == [1, 1]
    assert_equal(found, alone[:2])
    own.machine.refuses_above.clear()
    # Of another size, since what was recorded asks no engine.
    found = list(own.segmenter.stream([one[:, :30] for one in pictures[:2]]))
    for one in found:
        assert f"picture {one.index} of the stream: stage features" in str(one.error)
        assert "internal error" in str(one.error)


@pytest.mark.parametrize(
    "raised",
    [BackendError("it stumbled"), pytest.param(KeyboardInterrupt(), marks=pytest.mark.slow)],
    ids=["error", "interrupt"],
)
def test_a_group_whose_wait_fails_runs_again_picture_by_picture(
    own: OnStandIn, pictures: list[np.ndarray], alone: list[dict[Task, Result]], raised: BaseException
) -> None:
    given = [own.picture(one) for one in pictures[:2]]
    pending = own.chain.begin_together(given, own.job())
    assert len(pending) == 2

    def failing(event: int) -> None:
        del own.cuda.wait_for
        raise raised

    own.cuda.wait_for = failing  # the method again when this is deleted
    if isinstance(raised, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            pending[0].outcomes()
        for one in pending:
            with pytest.raises(BackendError, match="was interrupted"):
                one.outcomes()
        return
    for one, expected in zip(pending, alone, strict=False):
        ids = one.outcomes()["panoptic"].fields["panoptic"]
        np.testing.assert_array_equal(ids, expected["panoptic"].panoptic)
    assert windows_of_runs(own) == [2, 1, 1]


@pytest.mark.slow
def test_a_gpu_that_is_lost_is_the_error_of_every_picture(own: OnStandIn, pictures: list[np.ndarray]) -> None:
    own.machine.crashes.add("clip_pool")
    found = list(own.segmenter.stream(pictures[:3]))
    assert [one.index for one in found] == [0, 1, 2]
    assert all("illegal memory access" in str(one.error) for one in found)


@pytest.mark.parametrize("known", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_with_little_memory_fewer_pictures_run_together_and_it_is_said(
    own: OnStandIn, pictures: list[np.ndarray], alone: list[dict[Task, Result]], known: bool
) -> None:
    own.segmenter(pictures[0])
    (plan,) = own.chain._programs._plans.values()
    windows_of_runs(own)
    # One picture has what it needs already. There is no room for the windows of another one.
    own.cuda.space.limit = own.cuda.space.used + plan.bytes // 2
    if not known:
        own.cuda.claims_free = 2**40
    with pytest.warns(
        DeviceMemoryWarning, match="too little memory for 2 pictures of 45 x 45 pixels together"
    ):
        found = list(own.segmenter.stream(pictures[:2]))
    assert_equal(found, alone[:2])
    assert windows_of_runs(own) == [1, 1]
    assert found[0].result.provenance["pictures together"] == 1


def test_memory_that_runs_out_in_a_run_of_a_group_halves_it(
    own: OnStandIn, pictures: list[np.ndarray], alone: list[dict[Task, Result]]
) -> None:
    own.machine.refuses["captioner"] = "Cuda failure: out of memory"
    own.machine.refuses_above["captioner"] = 1
    with pytest.warns(DeviceMemoryWarning, match="up to 1 windows"):
        found = list(own.segmenter.stream(pictures[:2]))
    assert_equal(found, alone[:2])
    assert windows_of_runs(own) == [1, 1]
    assert own.segmenter.runs_on["together"] == "each picture alone"


@pytest.mark.slow
def test_another_vocabulary_holds_for_the_rest_of_a_group(own: OnStandIn, pictures: list[np.ndarray]) -> None:
    seen = []
    for one in own.segmenter.stream(pictures[:5], "semantic"):
        seen.append(one.result.vocabulary.names)
        if one.index == 1:
            own.segmenter.vocabulary = OTHER_WORDS
            expected = own.segmenter(pictures[2], "semantic")
        if one.index == 2:
            np.testing.assert_array_equal(one.result.semantic, expected.semantic)
    assert [len(names) for names in seen] == [5, 5, 2, 2, 2]


@pytest.mark.slow
def test_groups_of_one_size_run_from_a_recording_from_the_third_on(
    own: OnStandIn, pictures: list[np.ndarray], alone: list[dict[Task, Result]]
) -> None:
    launched = []
    for _ in range(4):
        before = own.cuda.counts.launches
        found = list(own.segmenter.stream(pictures[:2]))
        launched.append(own.cuda.counts.launches - before)
    assert launched == [0, 0, 1, 1]
    assert_equal(found, alone[:2])
    # A picture alone is another program.
    own.segmenter(pictures[0])
    assert own.cuda.counts.launches == 2
    own.segmenter.close()
    assert set(own.cuda.alive().values()) == {0}


@pytest.mark.slow
def test_a_picture_of_a_group_crosses_with_no_more_than_alone(
    gpu: OnStandIn, pictures: list[np.ndarray]
) -> None:
    job, counts = gpu.job(), gpu.cuda.counts
    copied = []
    for number in (1, 4, 1, 4):
        before = counts.uploaded, counts.downloaded
        for one in gpu.chain.begin_together([gpu.picture(one) for one in pictures[:number]], job):
            one.outcomes()
        copied.append((counts.uploaded - before[0], counts.downloaded - before[1]))
    (up, down), (ups, downs) = copied[2:]
    assert downs == 4 * down
    assert ups == 4 * up - 3 * 2 * 256  # the thresholds cross once


def test_pictures_and_ids_of_a_group_can_stay_on_the_gpu(gpu: OnStandIn, small: np.ndarray) -> None:
    side = gpu.segmenter.bundle.manifest.model.short_side
    sized = np.resize(small, (side, side, 3))
    (expected,) = gpu.segmenter.stream([sized])
    given: list[Any] = [ByDLPack(gpu.cuda, sized) for _ in range(2)]
    windows_of_runs(gpu)
    # A picture on the host runs with those on the host.
    found = list(gpu.segmenter.stream([*given, sized], ids="device"))
    assert windows_of_runs(gpu) == [2, 1]
    for one in found:
        assert one.result.ids is not None
        np.testing.assert_array_equal(one.result.panoptic, expected.result.panoptic)
        assert one.result.segments == expected.result.segments
    # They go when nobody holds them, and not when garbage is looked for.
    gone = weakref.ref(one.result.ids)
    del one, found
    assert gone() is None


@pytest.mark.slow
def test_closing_waits_for_a_group(own: OnStandIn, pictures: list[np.ndarray]) -> None:
    pending = own.chain.begin_together([own.picture(one) for one in pictures[:2]], own.job())
    own.segmenter.close()
    assert set(own.cuda.alive().values()) == {0}
    assert all(len(one.outcomes()["panoptic"].fields["panoptic"]) == 45 for one in pending)
    with pytest.raises(BackendError, match="the segmenter was closed"):
        own.chain.begin_together([own.picture(pictures[0])] * 2, own.job())
