"""libodise_trt on a GPU: pictures and ids there, memory, threads.

ODISE_CPP and ODISE_BUNDLE name library and bundle, one of the demo model. The comparison with
Python on the same GPU is `python -m tests.cpp.beside_python`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from reference.scenes import SCENE_VOCABULARY, make_scene
from tests.cpp.library import Image, Library, OdiseError, Segmenter
from tests.cpp.stand_in import set_words

pytestmark = [pytest.mark.slow, pytest.mark.gpu]

ENGINE = "onnxruntime_cuda"
ON_GPU = 1


def picture(seed: int) -> np.ndarray:
    """A picture that is not resized: the demo model takes 256 pixels along the shorter side."""
    return np.ascontiguousarray(make_scene(seed).image[:256, :300])


@pytest.fixture(scope="module")
def opened(library: Library, built: Path) -> Iterator[Segmenter]:
    with library.open(built, engine=ENGINE, verify_sizes_only=1) as segmenter:
        set_words(segmenter, SCENE_VOCABULARY)
        yield segmenter


def ids_there(opened: Segmenter, handle: Any) -> np.ndarray:
    """The panoptic map that a result has on the GPU."""
    library = opened.library
    interface = {
        "shape": (library.result_height(handle), library.result_width(handle)),
        "typestr": "<i4",
        "data": (library.result_panoptic_on_gpu(handle), False),
        "version": 3,
    }
    array = SimpleNamespace(__cuda_array_interface__=interface)
    return torch.as_tensor(array, device="cuda").cpu().numpy()


def test_a_picture_gives_the_same_again_and_again(opened: Segmenter) -> None:
    pixels = picture(2)
    first = opened.segment(pixels, "panoptic", "semantic", "instance")
    assert first.segments
    assert first.panoptic is not None
    for _ in range(5):
        again = opened.segment(pixels, "panoptic", "semantic", "instance")
        assert again.panoptic is not None
        # Sums that threads of a kernel make in any order can decide a tie.
        assert np.count_nonzero(again.panoptic != first.panoptic) <= 1e-3 * first.panoptic.size
        assert [one.name for one in again.segments] == [one.name for one in first.segments]


@pytest.mark.parametrize("bgr", [False, True])
def test_a_picture_on_the_gpu_gives_the_ids_of_one_on_the_host(opened: Segmenter, bgr: bool) -> None:
    pixels = picture(2)
    expected = opened.segment(pixels).panoptic
    assert expected is not None
    height, width, _ = pixels.shape
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        there = torch.zeros((height, 3 * width + 64), dtype=torch.uint8, device="cuda")
        content = np.ascontiguousarray(pixels[..., ::-1] if bgr else pixels).reshape(height, -1)
        there[:, : 3 * width] = torch.from_numpy(content).pin_memory().to("cuda", non_blocking=True)
    image = Image(
        data=there.data_ptr(),
        width=width,
        height=height,
        stride=there.stride(0),
        format=int(bgr),
        memory=ON_GPU,
        stream=stream.cuda_stream,
    )
    for _ in range(4):
        with opened.result(image, ids=ON_GPU) as handle:
            found = ids_there(opened, handle)
        assert np.count_nonzero(found != expected) <= 1e-3 * expected.size


def test_ids_on_the_gpu_outlive_later_pictures(opened: Segmenter) -> None:
    first, second = picture(1), picture(2)
    height, width, _ = first.shape
    image = Image(data=first.ctypes.data, width=width, height=height)
    with opened.result(image, ids=ON_GPU) as handle:
        before = ids_there(opened, handle)
        for _ in range(4):
            opened.segment(second)
        assert np.array_equal(ids_there(opened, handle), before)


def test_two_segmenters_run_at_the_same_time(library: Library, built: Path, opened: Segmenter) -> None:
    pixels = [picture(1), picture(2)]
    expected = [opened.segment(one).panoptic for one in pixels]

    def work(number: int) -> list[np.ndarray | None]:
        with library.open(built, engine=ENGINE, verify_sizes_only=1) as segmenter:
            set_words(segmenter, SCENE_VOCABULARY)
            return [segmenter.segment(pixels[number]).panoptic for _ in range(6)]

    with ThreadPoolExecutor(2) as pool:
        for found, one in zip(pool.map(work, range(2)), expected, strict=True):
            assert one is not None
            for ids in found:
                assert ids is not None
                assert np.count_nonzero(ids != one) <= 1e-3 * one.size


def test_a_closed_segmenter_leaves_no_memory(library: Library, built: Path) -> None:
    pixels = picture(1)

    def used_after_closing() -> int:
        with library.open(built, engine=ENGINE, verify_sizes_only=1) as segmenter:
            set_words(segmenter, SCENE_VOCABULARY)
            for _ in range(4):
                segmenter.segment(pixels)
        free, total = torch.cuda.mem_get_info()
        return total - free

    first = used_after_closing()
    # Libraries of CUDA keep what they allocate once.
    assert max(used_after_closing() for _ in range(3)) <= first + 2**24


def test_a_gpu_that_is_not_there_is_named(library: Library, built: Path) -> None:
    with pytest.raises(OdiseError, match=r"there is no GPU 99: CUDA sees \d"):
        library.open(built, engine=ENGINE, verify_sizes_only=1, gpu=99)
