"""The chain over device memory, on a stand-in for a GPU: true numbers, and every rule of CUDA checked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from odise_trt import Vocabulary
from odise_trt.bundle.manifest import MANIFEST
from odise_trt.preprocess import load_image
from reference.scenes import SCENE_VOCABULARY, make_scene
from tests.cpp.library import OdiseError, Result, Segmenter
from tests.cpp.stand_in import TABLES, Opens, StandIn, assert_the_same, set_words

pytestmark = pytest.mark.slow

PHOTO = Path(__file__).parent.parent.parent / "assets" / "photo.jpg"
TASKS = ("panoptic", "semantic", "instance")


PICTURES: dict[str, Callable[[], np.ndarray]] = {
    "a scene": lambda: make_scene(2).image,
    "the photo": lambda: load_image(PHOTO),
    "a panorama": lambda: load_image(PHOTO)[100:130],
    "a strip": lambda: load_image(PHOTO)[:, 100:101],
    "a pixel": lambda: load_image(PHOTO)[200:201, 300:301],
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_gives_what_the_host_gives(name: str, opens: Opens, host: Segmenter) -> None:
    pixels = np.ascontiguousarray(PICTURES[name]())
    with opens() as opened:
        for tasks in (TASKS, *[("semantic",)] * (name == "a scene")):
            found = opened.segment(pixels, *tasks)
            assert_the_same(found, host.segment(pixels, *tasks))
            assert found.note == ""


def test_between_upload_and_download_the_host_waits_once(opens: Opens, stand_in: StandIn) -> None:
    pixels = np.ascontiguousarray(make_scene(1).image[:128, :128])
    with opens() as opened:
        for number in range(5):
            before = {
                name: stand_in.count(name) for name in ("uploaded", "downloaded", "waits", "allocations")
            }
            opened.segment(pixels)
            moved = {name: stand_in.count(name) - count for name, count in before.items()}
            if number > 0:
                # The picture and two thresholds go up, ids and tables come down: vectors and words are there.
                assert moved["uploaded"] == pixels.nbytes + 2 * 256
                assert pixels.nbytes // 3 * 4 < moved["downloaded"] < pixels.nbytes // 3 * 4 + TABLES
                assert (moved["waits"], moved["allocations"]) == (1, 0)


def test_the_third_picture_of_a_size_is_one_launch(opens: Opens, stand_in: StandIn, host: Segmenter) -> None:
    first, second = make_scene(1).image[:256, :300], make_scene(2).image[:256, :300]
    with opens() as opened:
        results = [opened.segment(np.ascontiguousarray(one)) for one in (first, second, first, second)]
        # The second run of a size is recorded.
        assert (stand_in.count("recorded"), stand_in.count("launches")) == (1, 2)
        for found, pixels in zip(results, (first, second) * 2, strict=True):
            assert_the_same(found, host.segment(np.ascontiguousarray(pixels)))
        # Another vocabulary lies elsewhere, and is another program.
        set_words(opened, SCENE_VOCABULARY + Vocabulary.parse("dog, puppy;"))
        opened.segment(np.ascontiguousarray(first))
        assert stand_in.count("launches") == 2


def test_of_many_sizes_eight_stay_recorded(opens: Opens, stand_in: StandIn) -> None:
    pixels = make_scene(1).image
    with opens() as opened:
        opened.segment(pixels, *TASKS)  # the largest: nothing moves later
        for _ in range(2):
            for width in range(40, 140, 10):
                opened.segment(np.ascontiguousarray(pixels[:40, :width]))
        assert stand_in.count("graphs") == 8
        assert stand_in.count("recorded") == 10


@pytest.mark.parametrize(
    ("kind", "recorded"),
    [
        ("unrecordable", 0),
        # The attempt, which is freed. CUDA reports its error once more to the engine's next call.
        ("fails when recorded", 1),
    ],
)
def test_an_engine_that_cannot_be_recorded_runs_without_graphs(
    kind: str, recorded: int, opens: Opens, stand_in: StandIn, host: Segmenter
) -> None:
    pixels = np.ascontiguousarray(make_scene(1).image[:200, :256])
    with opens() as opened:
        stand_in.set(kind, "mask_head")
        for _ in range(4):
            assert_the_same(opened.segment(pixels), host.segment(pixels))
        assert (stand_in.count("recorded"), stand_in.count("graphs")) == (recorded, 0)


def test_with_little_memory_fewer_windows_run_at_once_and_the_result_says_so(
    opens: Opens, stand_in: StandIn, host: Segmenter
) -> None:
    pixels = np.ascontiguousarray(make_scene(2).image[:256])  # two windows

    def runs(opened: Segmenter) -> tuple[int, Result]:
        # Most of the memory is what the features need.
        stand_in.set("hungry", "features", 200)
        before = stand_in.count("runs")
        found = opened.segment(pixels)
        return stand_in.count("runs") - before, found

    with opens() as opened:
        usual, _ = runs(opened)
        most = stand_in.count("used")
    with opens(memory=most * 8 // 10) as opened:
        more, found = runs(opened)
    assert more == usual + 1
    assert found.note == "the GPU has little free memory: 1 windows run at once, fewer than it could"
    assert_the_same(found, host.segment(pixels))


def test_too_little_memory_is_an_error_and_the_next_picture_works(opens: Opens, stand_in: StandIn) -> None:
    pixels = np.ascontiguousarray(make_scene(2).image[:256])
    with opens() as opened:
        stand_in.set("hungry", "mask_head", 1e6)
        with pytest.raises(OdiseError, match="the GPU has too little memory: beside the engines") as caught:
            opened.segment(pixels)
        assert caught.value.name == "MemoryError"
        stand_in.set("hungry", "mask_head", 1)
        assert opened.segment(pixels).note == ""


def test_memory_that_runs_out_in_a_run_is_tried_with_less(opens: Opens, stand_in: StandIn) -> None:
    pixels = np.ascontiguousarray(make_scene(2).image)
    with opens() as opened:
        stand_in.set("refuses", "features")
        with pytest.raises(OdiseError, match="stage features: stand_in could not run: an allocation failed"):
            opened.segment(pixels)
        stand_in.set("works again", "features")
        assert (
            opened.segment(pixels).note
            == "the GPU has little free memory: 1 rows run at once, fewer than it could"
        )


def test_an_error_of_a_run_comes_with_its_picture(opens: Opens, stand_in: StandIn) -> None:
    pixels = np.ascontiguousarray(make_scene(1).image[:100, :100])
    with opens() as opened:
        opened.segment(pixels)
        stand_in.set("crashes", "stitch")
        with pytest.raises(OdiseError, match="CUDA: an illegal memory access") as caught:
            opened.segment(pixels)
        assert caught.value.name == "BackendError"


def test_engines_of_another_version_or_gpu_are_refused(
    opens: Opens, stand_in: StandIn, gpu_bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(gpu_bundle, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    version = manifest["backend"]["version"]
    for change, words in (
        ({"version": "10.14.0.1"}, f"built by stand_in 10.14.0.1, this is {version}"),
        ({"compute_capability": ["8.6", "9.0"]}, "built for compute capability 8.6, 9.0, stand-in 0 has 8.9"),
        ({"driver": "13.1"}, "built with a driver for CUDA 13.1, this one is for CUDA 13.0"),
        ({"os": "windows-amd64"}, "built for windows-amd64, this is linux-"),
    ):
        (folder / MANIFEST).write_text(json.dumps(manifest | {"backend": manifest["backend"] | change}))
        with stand_in.machine(), pytest.raises(OdiseError, match=words) as caught:
            stand_in.open(folder)
        assert caught.value.name == "BundleError"
        assert caught.value.hint.startswith("rebuild it: ")
    compatible = {"compatible": ["version", "hardware"]}
    for change, words in (
        ({"version": f"{version}.1"}, f"built by stand_in {version}.1, this is {version}"),
        ({"version": f"1{version}"}, f"built by stand_in 1{version}, this is {version}"),
    ):
        changed = manifest["backend"] | compatible | change
        (folder / MANIFEST).write_text(json.dumps(manifest | {"backend": changed}))
        with stand_in.machine(), pytest.raises(OdiseError, match=words):
            stand_in.open(folder)
    elsewhere = {"version": f"{version.split('.')[0]}.0", "compute_capability": ["12.0"]}
    (folder / MANIFEST).write_text(
        json.dumps(manifest | {"backend": manifest["backend"] | compatible | elsewhere})
    )
    with opens(folder=folder):
        pass
    newer = {"version": f"{version}.post1", "driver": "12.8", "compute_capability": ["8.9"]}
    (folder / MANIFEST).write_text(json.dumps(manifest | {"backend": manifest["backend"] | newer}))
    with opens(folder=folder):
        pass
    with stand_in.machine(), pytest.raises(OdiseError, match="there is no GPU 7: CUDA sees 2"):
        stand_in.open(gpu_bundle, gpu=7)


def test_a_segmenter_may_be_on_another_gpu_and_several_on_one(
    opens: Opens, stand_in: StandIn, gpu_bundle: Path, host: Segmenter
) -> None:
    pixels = np.ascontiguousarray(make_scene(1).image[:200, :256])
    expected = host.segment(pixels)
    with (
        opens(gpu=1) as opened,
        stand_in.open(gpu_bundle, verify_sizes_only=1, threads=1) as second,
        stand_in.open(gpu_bundle, verify_sizes_only=1, threads=1) as third,
    ):
        for one in (second, third):
            set_words(one, SCENE_VOCABULARY)
        for _ in range(3):
            for one in (opened, second, third):
                assert_the_same(one.segment(pixels), expected)


def test_features_are_those_of_the_host(opens: Opens, host: Segmenter) -> None:
    pixels = np.ascontiguousarray(load_image(PHOTO)[:200])
    expected = host.features(pixels)
    with opens() as opened:
        found = opened.features(pixels)
        assert found.keys() == expected.keys()
        for name, (values, stride) in found.items():
            assert stride == expected[name][1]
            assert np.allclose(values, expected[name][0], atol=1e-5)
