"""Feature maps of libodise_trt are those of Python's `Segmenter.features`, and so are its errors."""

from __future__ import annotations

import ctypes
import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from odise_trt import OdiseError as PythonError
from odise_trt import Segmenter
from odise_trt.bundle.manifest import MANIFEST
from odise_trt.features.names import PROJECTED, RAW
from odise_trt.preprocess import load_image
from reference.scenes import SCENE_VOCABULARY, make_scene
from tests.cpp import library as through_c
from tests.cpp.library import Library, OdiseError
from tests.cpp.same_results import PHOTO, compare_maps
from tests.cpp.stand_in import set_words
from tests.stand_in import bundle as stand_in_bundle

pytestmark = pytest.mark.slow

PICTURES: dict[str, Callable[[], np.ndarray]] = {
    "the photo, whose width is padded": lambda: load_image(PHOTO),
    "a part of a scene": lambda: make_scene(1).image[:300],
    "a panorama in smaller windows": lambda: load_image(PHOTO)[100:130],
    "a strip": lambda: load_image(PHOTO)[:, 100:101],
    "a pixel": lambda: load_image(PHOTO)[200:201, 300:301],
}
REQUESTS: dict[str, dict[str, Any]] = {
    "some maps in another order": {"names": ["s4", "un8", "dec5", "s2"]},
    "a name": {"names": "enc7"},
    "a name twice": {"names": ["un11", "un2", "un11"]},
    "a later step": {"names": ["un5"], "time_step": 999},
    "a smaller picture that is padded": {"short_side": 70},
    "a picture of more windows than a stage takes": {"names": ["un2", "s5"], "short_side": 512},
    "a longer side": {"names": ["enc5", "s3"], "max_side": 300},
    "both sides": {"names": ["un8"], "short_side": 200, "max_side": 210, "time_step": 1},
}
REFUSED: dict[str, dict[str, Any]] = {
    "an unknown name": {"names": ["un3"]},
    "some unknown names": {"names": ["s2", "s6", "it's", "s6", "enc5", "\n"]},
    "no names": {"names": []},
    "the pyramid at another step": {"names": ["s3", "un8", "s2"], "time_step": 7},
    "a step below the first": {"time_step": -1},
    "a step after the last": {"names": "un8", "time_step": 1000},
    "a side below one": {"short_side": -5},
    "a side that is too large": {"short_side": 32769},
    "a longer side below one": {"max_side": -1},
    "a longer side below the shorter one": {"short_side": 200, "max_side": 199},
    "a longer side below that of the model": {"max_side": 255},
    "two faults": {"names": ["un3"], "short_side": -5},
}


@pytest.fixture(scope="module")
def opened(library: Library, raw_bundle: Path) -> Iterator[through_c.Segmenter]:
    with library.open(raw_bundle, threads=1) as segmenter:
        yield segmenter


def words_of(call: Callable[..., Any], *given: Any, **options: Any) -> tuple[str, str, str]:
    """Name, message and hint of an error, of either side."""
    with pytest.raises((OdiseError, PythonError)) as caught:
        call(*given, **options)
    error = caught.value
    if isinstance(error, OdiseError):
        return error.name, error.message, error.hint
    return type(error).__name__, error.message, error.hint or ""


@pytest.mark.parametrize("time_step", [0, 100])
@pytest.mark.parametrize("name", PICTURES)
def test_all_maps_of_a_picture_are_those_of_python(
    name: str, time_step: int, raw_segmenter: Segmenter, opened: through_c.Segmenter
) -> None:
    pixels = np.ascontiguousarray(PICTURES[name]())
    found = opened.maps(pixels, time_step=time_step)
    assert list(found.maps) == [*RAW, *(PROJECTED if time_step == 0 else ())]
    compare_maps(found, raw_segmenter.features(pixels, time_step=time_step))


@pytest.mark.parametrize("name", REQUESTS)
def test_names_steps_and_sides_are_those_of_the_call(
    name: str, raw_segmenter: Segmenter, opened: through_c.Segmenter
) -> None:
    pixels = load_image(PHOTO)
    compare_maps(opened.maps(pixels, **REQUESTS[name]), raw_segmenter.features(pixels, **REQUESTS[name]))


def test_without_a_request_all_maps_come(library: Library, opened: through_c.Segmenter) -> None:
    pixels, handle = np.ascontiguousarray(make_scene(1).image[:128, :128]), ctypes.c_void_p()
    image = through_c.image_of(pixels)
    library.check(library.extract_maps(opened.handle, image, None, ctypes.byref(handle)))
    found = opened._maps(handle)
    assert list(found.maps) == [*RAW, *PROJECTED]
    # The pyramid is that of the other function.
    for name, (values, stride) in opened.features(pixels).items():
        assert np.array_equal(found.maps[name][0], values)
        assert found.maps[name][1] == stride


def test_fewer_windows_at_once_give_the_same(
    library: Library, raw_bundle: Path, opened: through_c.Segmenter
) -> None:
    pixels = load_image(PHOTO)
    expected = opened.maps(pixels).maps
    with library.open(raw_bundle, verify_sizes_only=1, threads=1, max_windows=1) as other:
        for name, (values, _) in other.maps(pixels).maps.items():
            assert np.array_equal(values, expected[name][0]), name


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_had_is_said_in_pythons_words(
    name: str, raw_segmenter: Segmenter, opened: through_c.Segmenter
) -> None:
    pixels = load_image(PHOTO)
    found = words_of(opened.maps, pixels, **REFUSED[name])
    assert found == words_of(raw_segmenter.features, pixels, **REFUSED[name])
    assert found[0] in ("FeatureError", "ArgumentError")


def test_a_bundle_without_the_stage_says_how_to_add_it(
    library: Library, bundle: Path, segmenter: Segmenter
) -> None:
    pixels = np.ascontiguousarray(make_scene(1).image[:100, :100])
    with library.open(bundle, verify_sizes_only=1, threads=1) as opened:
        compare_maps(opened.maps(pixels), segmenter.features(pixels))
        for request in ({"names": ["un8", "s2", "enc5"]}, {"time_step": 5}):
            found = words_of(opened.maps, pixels, **request)
            assert found == words_of(segmenter.features, pixels, **request)
            assert found[0] == "BundleError"
            assert "--stage raw_features" in found[2]


def test_what_a_program_forgets_is_an_error(library: Library, opened: through_c.Segmenter) -> None:
    pixels = np.ascontiguousarray(make_scene(1).image[:100, :100])
    image, handle = through_c.image_of(pixels), ctypes.c_void_p()

    def said(request: through_c.MapsRequest) -> tuple[str, str, str]:
        status = library.extract_maps(opened.handle, image, request, ctypes.byref(handle))
        return words_of(library.check, status)

    assert said(through_c.MapsRequest(count=2))[:2] == ("ArgumentError", "the array of names is NULL")
    names = (ctypes.c_char_p * 2)(b"s2", None)
    assert said(through_c.MapsRequest(names=names, count=2))[:2] == (
        "ArgumentError",
        "the name of a map is NULL",
    )
    # A structure of an older header lacks what came later.
    older = through_c.MapsRequest(time_step=-1, short_side=-1, max_side=-1)
    older.size = through_c.MapsRequest.time_step.offset
    library.check(library.extract_maps(opened.handle, image, older, ctypes.byref(handle)))
    assert len(opened._maps(handle).maps) == len(RAW + PROJECTED)
    assert words_of(opened.maps, pixels[:0], "s2")[0] == "ImageError"


def replace_stage(source: Path, target: Path, content: bytes) -> Path:
    """Copy a bundle with another file for `raw_features`, and the hash of it."""
    stand_in_bundle.copy(source, target)
    (target / "raw_features.onnx").unlink()
    (target / "raw_features.onnx").write_bytes(content)
    manifest = json.loads((target / MANIFEST).read_text())
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    manifest["files"]["raw_features.onnx"] = entry
    (target / MANIFEST).write_text(json.dumps(manifest))
    return target


def test_the_stage_is_loaded_when_it_is_needed(library: Library, raw_bundle: Path, tmp_path: Path) -> None:
    folder = replace_stage(raw_bundle, tmp_path / "bundle", b"no graph")
    pixels = np.ascontiguousarray(make_scene(1).image[:128, :128])
    with (
        library.open(folder, threads=1) as opened,
        Segmenter.open(folder, cache=False, threads=1) as python,
    ):
        for _ in range(2):
            compare_maps(opened.maps(pixels, "s2"), python.features(pixels, "s2"))
            found = words_of(opened.maps, pixels, "un8")
            assert found == words_of(python.features, pixels, "un8")
            assert found[:1] == ("BackendError",)
            assert "raw_features" in found[1]


def test_the_stage_is_kept(library: Library, raw_bundle: Path, tmp_path: Path) -> None:
    folder = stand_in_bundle.copy(raw_bundle, tmp_path / "bundle")
    pixels = np.ascontiguousarray(make_scene(1).image[:128, :128])
    with library.open(folder, verify_sizes_only=1, threads=1) as opened:
        expected = opened.maps(pixels, "un8").maps["un8"][0]
        (folder / "raw_features.onnx").unlink()
        assert np.array_equal(opened.maps(pixels, "un8").maps["un8"][0], expected)


def test_numbers_that_are_not_finite_are_an_error_whichever_map_is_wanted(
    library: Library, raw_bundle: Path, tmp_path: Path
) -> None:
    model = onnx.load(raw_bundle / "raw_features.onnx")
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["before" if name == "un8" else name for name in node.output]
        node.input[:] = ["before" if name == "un8" else name for name in node.input]
    graph.initializer.append(onnx.numpy_helper.from_array(np.float32(np.inf), "infinity"))
    graph.node.append(onnx.helper.make_node("Add", ["before", "infinity"], ["un8"]))
    folder = replace_stage(raw_bundle, tmp_path / "bundle", model.SerializeToString())
    pixels = np.ascontiguousarray(make_scene(1).image[:128, :128])
    with (
        library.open(folder, threads=1) as opened,
        Segmenter.open(folder, cache=False, threads=1) as python,
    ):
        found = words_of(opened.maps, pixels, "enc5")
        assert found == words_of(python.features, pixels, "enc5")
        assert found[1] == "stage raw_features gave un8 with numbers that are not finite"


def test_threads_may_share_a_segmenter(library: Library, raw_bundle: Path) -> None:
    pixels = np.ascontiguousarray(make_scene(2).image[:200, :256])
    with library.open(raw_bundle, verify_sizes_only=1, threads=1) as opened:
        set_words(opened, SCENE_VOCABULARY)
        alone = [opened.maps(pixels, "un8", time_step=step).maps["un8"][0] for step in (0, 300)]
        ids = opened.segment(pixels).panoptic

    with library.open(raw_bundle, verify_sizes_only=1, threads=1) as opened:
        set_words(opened, SCENE_VOCABULARY)

        def work(number: int) -> bool:
            # The first of them load the stage.
            if number % 3 == 2:
                return np.array_equal(opened.segment(pixels).panoptic, ids)
            found = opened.maps(pixels, "un8", time_step=(0, 300)[number % 3]).maps["un8"][0]
            return np.array_equal(found, alone[number % 3])

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(work, range(12)))


def test_the_example_writes_maps_that_numpy_reads(
    build: Path, raw_bundle: Path, raw_segmenter: Segmenter, tmp_path: Path
) -> None:
    pixels = np.ascontiguousarray(make_scene(2).image[:100])
    Image.fromarray(pixels).save(tmp_path / "scene.ppm")
    words = [build / "examples" / "odise_features", raw_bundle, tmp_path / "scene.ppm", tmp_path]
    done = subprocess.run([*words, "un8,enc5", "20"], capture_output=True, text=True, check=True)
    expected = raw_segmenter.features(pixels, ["un8", "enc5"], time_step=20)
    assert len(done.stdout.splitlines()) == 2
    for name, values in expected.maps.items():
        found = np.load(tmp_path / f"{name}.npy")
        assert found.dtype == np.float32
        assert np.linalg.norm(found - values) <= 1e-5 * np.linalg.norm(values)  # as many threads as there are
    wrong = subprocess.run([*words, "s2", "20"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("FeatureError: there is no s2 at time step 20")


def test_a_gpu_picture_needs_engines_on_a_gpu(opened: through_c.Segmenter) -> None:
    image = through_c.Image(data=1 << 40, width=200, height=128, memory=1)
    name, message, hint = words_of(opened.maps, image, "s2")
    assert name == "ImageError"
    assert "run on the host" in message
    assert hint == "copy it to the host: cudaMemcpy"
