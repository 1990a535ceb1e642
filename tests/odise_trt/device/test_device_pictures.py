"""Pictures that lie on the GPU already, and ids that stay there, on the stand-in."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from odise_trt import Segmenter
from odise_trt.backends.device_array import DeviceArray
from odise_trt.chains import device_maps
from odise_trt.errors import ArgumentError, BackendError, ImageError
from odise_trt.result import Result
from tests.odise_trt.device.on_stand_in import OTHER_WORDS, OnStandIn, assert_same
from tests.stand_in.arrays import ByDLPack, ByInterface
from tests.stand_in.memory import DeviceFaultError

BOTH = ("panoptic", "semantic")


@pytest.fixture(scope="module")
def sized(photo: np.ndarray) -> np.ndarray:
    """A picture of the size that the engines take."""
    return np.asarray(Image.fromarray(photo).crop((100, 0, 500, 400)).resize((128, 128)))


@pytest.fixture(scope="module")
def on_host(gpu: OnStandIn, sized: np.ndarray) -> dict[str, Result]:
    """What the picture is when it comes from the host."""
    return gpu.segmenter.results(sized, BOTH)


@pytest.fixture
def closing(own: OnStandIn) -> Iterator[OnStandIn]:
    """A segmenter after whose end nothing is left on its GPU."""
    yield own
    own.segmenter.close()
    gc.collect()
    assert set(own.cuda.alive().values()) == {0}


@pytest.mark.parametrize(("kind", "gap"), [(ByDLPack, 0), (ByInterface, 0), (ByInterface, 128)])
def test_a_picture_on_the_gpu_gives_what_it_gives_from_the_host(
    gpu: OnStandIn, sized: np.ndarray, on_host: dict[str, Result], kind: type, gap: int
) -> None:
    array = kind(gpu.cuda, sized, gap)
    found = gpu.segmenter.results(array, BOTH)
    assert_same(found, on_host, BOTH)
    np.testing.assert_array_equal(found["panoptic"].image, sized)
    assert found["panoptic"].overlay().height == 640


def test_with_picture_and_ids_on_the_gpu_only_tables_cross(gpu: OnStandIn, sized: np.ndarray) -> None:
    array = ByDLPack(gpu.cuda, sized)
    gpu.segmenter(array, ids="device")
    counts = gpu.cuda.counts
    uploaded, downloaded = counts.uploaded, counts.downloaded
    gpu.segmenter(array, ids="device")
    queries = gpu.segmenter.bundle.manifest.model.num_queries
    tables = queries * 7 * 4 + queries * 4 + 2 * 4 * 4
    # Two thresholds go up. Each tensor begins at a multiple of 256 bytes.
    assert counts.uploaded - uploaded == 2 * 256
    assert tables <= counts.downloaded - downloaded <= tables + 4 * 256
    gpu.segmenter.results(array, BOTH, ids="device")
    assert counts.downloaded - downloaded <= 2 * (tables + 4 * 256)


def test_ids_on_the_gpu_are_those_of_the_host(
    gpu: OnStandIn, sized: np.ndarray, on_host: dict[str, Result], tmp_path: Path
) -> None:
    found = gpu.segmenter.results(sized, BOTH, ids="device")
    before = gpu.cuda.counts.downloaded
    for task in BOTH:
        ids = found[task].ids
        assert isinstance(ids, DeviceArray)
        assert (ids.dtype, ids.shape, ids.device, found[task].task) == ("int32", (128, 128), "cuda:0", task)
        np.testing.assert_array_equal(ids, getattr(on_host[task], task))
        assert on_host[task].ids is None
    assert found["panoptic"].segments == on_host["panoptic"].segments
    assert gpu.cuda.counts.downloaded - before == 2 * 4 * 128 * 128
    # Reading them on the host brings them there, once.
    assert_same(found, on_host, BOTH)
    found["semantic"].save(tmp_path, "picture")
    assert gpu.cuda.counts.downloaded - before == 4 * 4 * 128 * 128


@pytest.mark.slow
def test_the_ids_of_each_picture_have_memory_of_their_own(
    gpu: OnStandIn, sized: np.ndarray, on_host: dict[str, Result]
) -> None:
    found = [gpu.segmenter(pixels, ids="device") for pixels in (sized, sized[::-1], sized[:, ::-1])]
    np.testing.assert_array_equal(found[0].ids, on_host["panoptic"].panoptic)
    assert len({one.ids.address for one in found}) == 3


def test_one_recording_serves_pictures_of_host_and_gpu(
    own: OnStandIn, sized: np.ndarray, on_host: dict[str, Result]
) -> None:
    array = ByDLPack(own.cuda, sized)
    launched = []
    for image, ids in ((sized, "host"), (array, "device"), (array, "host"), (sized, "device")):
        before = own.cuda.counts.launches
        found = own.segmenter(image, ids=ids)
        launched.append(own.cuda.counts.launches - before)
        np.testing.assert_array_equal(found.panoptic, on_host["panoptic"].panoptic)
    assert launched == [0, 0, 1, 1]
    assert own.cuda.alive()["graphs"] == 1


def test_the_picture_lives_until_it_was_read(
    closing: OnStandIn, sized: np.ndarray, on_host: dict[str, Result]
) -> None:
    array = ByInterface(closing.cuda, sized)
    address = array.address
    pending = closing.chain.begin(closing.chain.adopt(array), closing.job())
    del array
    gc.collect()
    assert address in closing.cuda.space.live
    ids = pending.outcomes()["panoptic"].fields["panoptic"]
    np.testing.assert_array_equal(ids, on_host["panoptic"].panoptic)
    del pending
    gc.collect()
    assert address not in closing.cuda.space.live


def test_a_picture_whose_memory_goes_too_early_is_seen_by_the_stand_in(
    own: OnStandIn, sized: np.ndarray
) -> None:
    array = ByInterface(own.cuda, sized)
    picture = own.chain.adopt(array)
    array.free()
    with pytest.raises(DeviceFaultError, match="which were freed"):
        own.chain.begin(picture, own.job())


@pytest.mark.parametrize("kind", [ByDLPack, ByInterface])
def test_the_stand_in_sees_a_stream_that_does_not_wait_for_the_picture(
    own: OnStandIn, sized: np.ndarray, kind: type
) -> None:
    array = kind(own.cuda, sized)
    own.cuda.wait = lambda stream, event: None
    picture = own.chain.adopt(array)
    del own.cuda.wait
    with pytest.raises(DeviceFaultError, match="at the same time"):
        own.chain.begin(picture, own.job())


def test_by_dlpack_the_other_library_is_told_which_stream_waits(gpu: OnStandIn, sized: np.ndarray) -> None:
    array = ByDLPack(gpu.cuda, sized)
    gpu.segmenter(array)
    assert array.asked == [gpu.cuda.uploads]


@pytest.mark.slow
def test_after_a_result_its_picture_may_be_overwritten(
    gpu: OnStandIn, sized: np.ndarray, on_host: dict[str, Result]
) -> None:
    array = ByDLPack(gpu.cuda, sized)
    first = gpu.segmenter(array, ids="device")
    array.fill(np.zeros_like(sized))
    np.testing.assert_array_equal(first.ids, on_host["panoptic"].panoptic)
    assert (gpu.segmenter(array).panoptic != on_host["panoptic"].panoptic).any()


def test_a_stream_takes_pictures_on_the_gpu_and_keeps_their_order(
    closing: OnStandIn, sized: np.ndarray, on_host: dict[str, Result]
) -> None:
    black = np.zeros_like(sized)

    def frames() -> Iterator[object]:
        for pixels in (sized, black, sized, black, sized):
            yield ByDLPack(closing.cuda, pixels)

    found = []
    for one in closing.segmenter.stream(frames(), ids="device"):
        assert one.result.ids is not None
        found.append(np.asarray(one.result.ids))
        del one
    for ids in found[::2]:
        np.testing.assert_array_equal(ids, on_host["panoptic"].panoptic)
    for ids in found[1::2]:
        assert (ids != on_host["panoptic"].panoptic).any()


def test_another_vocabulary_in_a_stream_segments_pictures_on_the_gpu_again(
    closing: OnStandIn, sized: np.ndarray
) -> None:
    frames = [ByDLPack(closing.cuda, sized) for _ in range(4)]
    names = []
    for number, one in enumerate(closing.segmenter.stream(frames, ids="device")):
        names.append({segment.name for segment in one.result.segments})
        if number == 0:
            closing.segmenter.vocabulary = OTHER_WORDS
    assert not names[0] & {"sky", "mountain"}
    assert all(found <= {"sky", "mountain"} for found in names[1:])


def test_a_picture_of_a_wrong_size_in_a_stream_is_its_error_only(gpu: OnStandIn, sized: np.ndarray) -> None:
    frames = [ByDLPack(gpu.cuda, pixels) for pixels in (sized, sized[:100], sized)]
    errors = [one.error for one in gpu.segmenter.stream(frames)]
    assert (errors[0], errors[2]) == (None, None)
    assert isinstance(errors[1], ImageError)


def test_ids_outlive_the_segmenter_and_free_themselves(
    own: OnStandIn, sized: np.ndarray, on_host: dict[str, Result]
) -> None:
    ids = own.segmenter(sized, ids="device").ids
    own.segmenter.close()
    assert own.cuda.alive()["allocations"] == 1
    np.testing.assert_array_equal(ids, on_host["panoptic"].panoptic)
    capsule = ids.__dlpack__()
    del ids
    gc.collect()
    assert own.cuda.alive()["allocations"] == 1
    del capsule
    gc.collect()
    assert own.cuda.alive()["allocations"] == 0


@pytest.mark.slow
def test_ids_that_nobody_holds_are_freed_together_between_pictures(
    closing: OnStandIn, sized: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_maps, "_MOST_DEAD", 2 * 4 * 128 * 128)
    for _ in range(2):
        closing.segmenter(sized, ids="device")
    alive = []
    for _ in range(4):
        closing.segmenter(sized, ids="device")
        gc.collect()
        alive.append(closing.cuda.alive()["allocations"])
    assert max(alive) - min(alive) == 1


def test_dead_ids_make_room_where_memory_is_short(closing: OnStandIn, sized: np.ndarray) -> None:
    for _ in range(3):
        closing.segmenter(sized, ids="device")
    gc.collect()
    closing.cuda.space.limit = closing.cuda.space.used
    closing.segmenter(sized, ids="device")
    closing.cuda.space.limit *= 2


def test_ids_may_die_while_a_graph_is_recorded(closing: OnStandIn, sized: np.ndarray) -> None:
    kept = [closing.segmenter(sized, ids="device")]
    begin = closing.cuda.begin_recording

    def begin_recording() -> None:
        begin()
        kept.clear()
        gc.collect()

    closing.cuda.begin_recording = begin_recording
    closing.segmenter(sized, ids="device")
    assert not kept
    assert closing.cuda.alive()["graphs"] == 1


def test_an_engine_that_fails_leaves_nothing_of_picture_or_ids(closing: OnStandIn, sized: np.ndarray) -> None:
    closing.machine.not_finite["mask_head"] = "mask_embed"
    array = ByDLPack(closing.cuda, sized)
    with pytest.raises(BackendError, match="mask_embed"):
        closing.segmenter(array, ids="device")
    closing.machine.not_finite.clear()
    closing.machine.refuses["mask_head"] = "internal error"
    with pytest.raises(BackendError, match="internal error"):
        closing.segmenter(array, ids="device")


class _Described:
    """An array whose `__cuda_array_interface__` says what a test wants."""

    def __init__(self, array: ByInterface, **changes: object) -> None:
        self._array = array
        self.__cuda_array_interface__ = array.interface() | changes


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"typestr": "<f4"}, r"must be uint8 \(H, W, 3\), this .*_Described on the GPU is float32", "byte"),
        ({"shape": (3, 128, 128)}, r"must be uint8 \(H, W, 3\), this .* is uint8 \(3, 128, 128\)", "permute"),
        ({"shape": (128, 128)}, r"must be uint8 \(H, W, 3\)", "permute"),
        ({"shape": (0, 128, 3)}, "has no pixels", None),
        ({"strides": (128, 1, 128 * 128)}, r"rows .* must be contiguous.* \(128, 1, 16384\)", "contiguous"),
        ({"strides": (-384, 3, 1)}, "rows .* must be contiguous", "contiguous"),
        ({"shape": (128, 90, 3)}, r"has 128 x 90 pixels .* with 182 x 128", "add the stage that does"),
        ({"data": (4096, False)}, "is not in the memory of a GPU", "copy it"),
        ({"mask": object()}, "cannot be shared: it is a masked array", "copy it"),
        ({"stream": 0}, "names the stream 0", "copy it"),
        ({"typestr": "nonsense"}, "its type is 'nonsense'", "copy it"),
    ],
)
def test_an_array_that_the_engines_cannot_take_is_refused_with_the_way_out(
    gpu: OnStandIn, sized: np.ndarray, changes: dict[str, object], message: str, hint: str | None
) -> None:
    array = _Described(ByInterface(gpu.cuda, sized), **changes)
    with pytest.raises(ImageError, match=message) as caught:
        gpu.segmenter(array)
    assert hint is None or hint in str(caught.value.hint)


@pytest.mark.parametrize("kind", [ByDLPack, ByInterface])
def test_a_picture_on_another_gpu_is_an_error_that_names_both(
    own: OnStandIn, sized: np.ndarray, kind: type
) -> None:
    array = kind(own.cuda, sized)
    with own.open("cuda:1") as second, pytest.raises(ImageError) as caught:
        second(array)
    assert "is on GPU 0, the engines are on GPU 1 (stand-in 1)" in caught.value.message
    assert caught.value.hint == 'move it: .to("cuda:1") in torch; or open the bundle with device="cuda:0"'


@pytest.mark.parametrize("kind", [ByDLPack, ByInterface])
def test_a_bundle_on_the_cpu_says_how_the_picture_gets_there(
    gpu: OnStandIn, host: Segmenter, sized: np.ndarray, kind: type
) -> None:
    with pytest.raises(ImageError, match=r"is on the GPU\n  copy it: \.cpu\(\) in torch, \.get\(\) in CuPy"):
        host(kind(gpu.cuda, sized))


def test_ids_on_a_gpu_need_one(host: Segmenter, gpu: OnStandIn, sized: np.ndarray) -> None:
    with pytest.raises(ArgumentError, match='ids="device" needs engines that pass tensors on a GPU'):
        host(sized, ids="device")
    with pytest.raises(ArgumentError, match='ids="device" needs'):
        host.stream([sized], ids="device")
    with pytest.raises(ArgumentError, match="the task instance has masks and no ids"):
        gpu.segmenter(sized, "instance", ids="device")
    with pytest.raises(ArgumentError, match="ids must be one of host, device, not 'gpu'"):
        gpu.segmenter(sized, ids="gpu")  # type: ignore[arg-type]


def test_a_closed_segmenter_takes_no_picture_on_the_gpu(own: OnStandIn, sized: np.ndarray) -> None:
    array = ByDLPack(own.cuda, sized)
    own.segmenter.close()
    with pytest.raises(BackendError, match="was closed"):
        own.chain.adopt(array)
    assert array.asked == []
