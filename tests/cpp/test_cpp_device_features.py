"""Feature maps of the chain over device memory, on a stand-in for a GPU, are those of Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from odise_trt import Segmenter
from reference.scenes import SCENE_VOCABULARY, make_scene
from tests.cpp.library import Library
from tests.cpp.same_results import compare_maps
from tests.cpp.stand_in import VERSION, StandIn, assert_the_same, set_words
from tests.cpp.test_cpp_features import REFUSED, REQUESTS, words_of
from tests.stand_in import bundle as stand_in_bundle

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def on_gpu(raw_built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same files as a bundle for the stand-in."""
    target = tmp_path_factory.mktemp("gpu") / "demo-stand_in-fp32"
    return stand_in_bundle.copy(raw_built, target, backend={"name": "stand_in", "version": VERSION})


def test_the_chain_of_a_gpu_gives_the_same_from_pictures_of_the_host_and_of_the_gpu(
    stand_in: StandIn, library: Library, on_gpu: Path, raw_bundle: Path, raw_segmenter: Segmenter
) -> None:
    pixels = np.ascontiguousarray(make_scene(2).image[:200])
    expected = [raw_segmenter.features(pixels, time_step=step) for step in (0, 100)]
    with library.open(raw_bundle, verify_sizes_only=1, threads=1) as opened:
        set_words(opened, SCENE_VOCABULARY)
        ids = opened.segment(pixels)
    with stand_in.machine(), stand_in.open(on_gpu, verify_sizes_only=1, threads=1) as segmenter:
        set_words(segmenter, SCENE_VOCABULARY)
        for step, one in zip((0, 100), expected, strict=True):
            compare_maps(segmenter.maps(pixels, time_step=step), one)
            # Pictures that are recorded come between.
            assert_the_same(segmenter.segment(pixels), ids)
        for name in ("some maps in another order", "a picture of more windows than a stage takes"):
            compare_maps(
                segmenter.maps(pixels, **REQUESTS[name]), raw_segmenter.features(pixels, **REQUESTS[name])
            )
        with stand_in.picture(pixels, gap=9) as image:
            compare_maps(segmenter.maps(image, time_step=100), expected[1])
        with stand_in.picture(np.ascontiguousarray(pixels[:, :, ::-1]), bgr=True, upside_down=True) as image:
            compare_maps(segmenter.maps(image), expected[0])
        assert_the_same(segmenter.segment(pixels), ids)


def test_the_chain_of_a_gpu_refuses_in_the_same_words(
    stand_in: StandIn, on_gpu: Path, raw_segmenter: Segmenter
) -> None:
    pixels = np.ascontiguousarray(make_scene(1).image[:128, :128])
    with stand_in.machine(), stand_in.open(on_gpu, verify_sizes_only=1, threads=1) as segmenter:
        for request in REFUSED.values():
            assert words_of(segmenter.maps, pixels, **request) == words_of(
                raw_segmenter.features, pixels, **request
            )
        with stand_in.picture(pixels, gpu=1) as image:
            name, message, _ = words_of(segmenter.maps, image)
            assert (name, message) == (
                "ImageError",
                "the image is on GPU 1, the engines are on GPU 0 (stand-in 0)",
            )
        stand_in.set("hungry", "raw_features", 1e6)
        name, _, hint = words_of(segmenter.maps, pixels, "un8")
        assert name == "MemoryError"
        assert "max_windows = 1" in hint
        stand_in.set("hungry", "raw_features", 1)
        compare_maps(segmenter.maps(pixels, "un8"), raw_segmenter.features(pixels, "un8"))
