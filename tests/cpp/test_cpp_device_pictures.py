"""Pictures that lie on a GPU, and ids that stay there, through the C interface and on the stand-in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from export.onnx_export import export_stage
from export.stages.resize import Resize
from odise_trt.bundle.manifest import Manifest, StageEntry
from odise_trt.preprocess import load_image
from reference.preset import DEMO
from reference.scenes import SCENE_VOCABULARY, make_scene
from tests.cpp.library import Image, OdiseError, Segmenter
from tests.cpp.stand_in import TABLES, Opens, StandIn, assert_the_same, set_words
from tests.stand_in import bundle as stand_in_bundle

pytestmark = pytest.mark.slow

PHOTO = Path(__file__).parent.parent.parent / "assets" / "photo.jpg"


@pytest.fixture(scope="module")
def resizing(gpu_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the stand-in with the stage `resize`."""
    made = tmp_path_factory.mktemp("resize")
    spec = Resize.declare(DEMO).at("fp32")
    stage: Any = Resize(SimpleNamespace())  # type: ignore[arg-type]
    export_stage(stage, spec, made, precision="fp32")
    files = dict(Manifest.read(gpu_bundle).files)
    size = (made / "resize.onnx").stat().st_size
    files["resize.onnx"] = {"sha256": "0" * 64, "bytes": size}
    entry = StageEntry(spec, "resize.onnx", ("resize.onnx",), "", 0.0, 0)
    stages = (*Manifest.read(gpu_bundle).stages, entry)
    target = stand_in_bundle.copy(gpu_bundle, made / "bundle", stages=stages, files=files)
    (made / "resize.onnx").rename(target / "resize.onnx")
    return target


@pytest.fixture(scope="module")
def taken() -> np.ndarray:
    """A picture of the size that the engines take."""
    return np.ascontiguousarray(make_scene(2).image[100:228, 200:400])


def test_a_picture_on_the_gpu_gives_what_it_gives_from_the_host(
    opens: Opens, stand_in: StandIn, taken: np.ndarray
) -> None:
    with opens() as opened:
        expected = opened.segment(taken)
        before = stand_in.count("uploaded")
        for way in (
            {},
            {"gap": 50},
            {"bgr": True},
            {"upside_down": True},
            {"upside_down": True, "bgr": True, "gap": 7},
        ):
            pixels = taken[:, :, ::-1] if way.get("bgr") else taken
            with stand_in.picture(pixels, **way) as image, opened.result(image) as handle:
                found = opened.copied(handle)
                assert np.array_equal(found.panoptic, expected.panoptic), way
                assert found.segments == expected.segments
        # Two thresholds went up with each.
        assert stand_in.count("uploaded") - before == 5 * 260


@pytest.mark.parametrize("size", [(200, 128), (61, 300), (257, 259), (400, 100)])
def test_a_picture_is_resized_on_the_gpu_as_pillow_does_it(
    size: tuple[int, int], opens: Opens, stand_in: StandIn, resizing: Path
) -> None:
    pixels = np.ascontiguousarray(load_image(PHOTO)[: size[0], : size[1]])
    with opens(folder=resizing) as opened:
        expected = opened.segment(pixels)
        for _ in range(3):
            with stand_in.picture(pixels, gap=5) as image, opened.result(image) as handle:
                assert np.array_equal(opened.copied(handle).panoptic, expected.panoptic)
        assert stand_in.count("launches") > 0


def test_ids_stay_on_the_gpu_and_outlive_their_segmenter(
    stand_in: StandIn, gpu_bundle: Path, taken: np.ndarray, host: Segmenter
) -> None:
    tasks = ("panoptic", "semantic")
    expected = host.segment(taken, *tasks)
    with stand_in.machine(), ExitStack() as results:
        with stand_in.open(gpu_bundle, verify_sizes_only=1, threads=1) as opened:
            set_words(opened, SCENE_VOCABULARY)
            with stand_in.picture(taken) as image:
                before = stand_in.count("downloaded")
                handle = results.enter_context(opened.result(image, *tasks, ids=1))
                # Neither picture nor ids crossed.
                assert stand_in.count("downloaded") - before < TABLES
            found = opened.copied(handle)
            assert found.panoptic is None
            assert found.semantic is None
            assert [s.name for s in found.segments] == [s.name for s in expected.segments]
            # No later picture changes them.
            opened.segment(np.ascontiguousarray(taken[::-1]), *tasks)
        for name in tasks:
            address = getattr(stand_in, f"result_{name}_on_gpu")(handle)
            there = stand_in.read(address, taken.shape[:2])
            assert np.count_nonzero(there != getattr(expected, name)) <= 2


def test_ids_of_one_task_stay_and_masks_come(
    opens: Opens, stand_in: StandIn, taken: np.ndarray, host: Segmenter
) -> None:
    expected = host.segment(taken, "panoptic", "instance")
    with opens() as opened, stand_in.picture(taken) as image:
        with opened.result(image, "panoptic", "instance", ids=1) as handle:
            found = opened.copied(handle)
            assert stand_in.result_semantic_on_gpu(handle) is None
            there = stand_in.read(stand_in.result_panoptic_on_gpu(handle), taken.shape[:2])
        assert_the_same(replace(found, panoptic=there), expected)


def test_results_may_die_in_any_thread(opens: Opens, stand_in: StandIn, taken: np.ndarray) -> None:
    with opens() as opened, stand_in.picture(taken) as image, ThreadPoolExecutor(4) as pool:

        def segmented(_: int) -> int:
            with opened.result(image, ids=1) as handle:
                address = stand_in.result_panoptic_on_gpu(handle)
                return int(stand_in.read(address, taken.shape[:2]).max())

        assert len(set(pool.map(segmented, range(8)))) == 1


def test_a_picture_that_cannot_be_taken_is_named(
    opens: Opens, stand_in: StandIn, taken: np.ndarray, resizing: Path, host: Segmenter
) -> None:
    def words_of(opened: Segmenter, image: Image, **options: Any) -> tuple[str, str, str]:
        with pytest.raises(OdiseError) as caught, opened.result(image, **options):
            pass
        return caught.value.name, caught.value.message, caught.value.hint

    with opens() as opened:
        with stand_in.picture(taken, gpu=1) as image:
            assert words_of(opened, image) == (
                "ImageError",
                "the image is on GPU 1, the engines are on GPU 0 (stand-in 0)",
                "copy it there, or open the bundle with gpu = 1",
            )
        mine = Image(data=taken.ctypes.data, width=200, height=128, memory=1)
        assert words_of(opened, mine)[:2] == ("ImageError", "the image is not in the memory of a GPU")
        with stand_in.picture(taken[:64]) as image:
            name, message, hint = words_of(opened, image)
            assert message == (
                "the image on the GPU has 64 x 200 pixels (height x width), the engines take it with"
                " 82 x 256: this bundle does not resize pictures on the GPU"
            )
            assert "--stage resize" in hint
            image.memory = 2
            assert words_of(opened, image)[1] == "there is no memory 2"
        assert (
            words_of(opened, Image(data=taken.ctypes.data, width=200, height=128), ids=5)[0]
            == "ArgumentError"
        )
    with opens(folder=resizing) as opened, stand_in.picture(np.zeros((4500, 2, 3), np.uint8)) as image:
        assert words_of(opened, image)[1].endswith("that is too much for the stage resize")
    # Engines on the host take pictures of the host, and make ids there.
    image = Image(data=1 << 40, width=200, height=128, memory=1)
    name, message, hint = words_of(host, image)
    assert name == "ImageError"
    assert "run on the host" in message
    assert hint == "copy it to the host: cudaMemcpy"
    image = Image(data=taken.ctypes.data, width=200, height=128)
    assert words_of(host, image, ids=1)[0] == "ArgumentError"


def test_older_programs_give_pictures_of_the_host(opens: Opens, taken: np.ndarray) -> None:
    with opens() as opened:
        image = Image(data=taken.ctypes.data, width=200, height=128, memory=1, stream=77)
        image.size = Image.memory.offset
        with opened.result(image) as handle:
            assert opened.copied(handle).panoptic is not None
