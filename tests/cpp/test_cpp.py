"""libodise_trt, driven through its C interface, gives what Python's segmenter gives."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from odise_trt import Segmenter
from odise_trt.preprocess import load_image
from reference.scenes import SCENE_VOCABULARY, make_scene
from tests.cpp import library as through_c
from tests.cpp.conftest import run
from tests.cpp.library import Library, OdiseError
from tests.cpp.same_results import PHOTO, PICTURES, WORDS, check_panoptic, compare, set_words

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def opened(library: Library, bundle: Path) -> Iterator[through_c.Segmenter]:
    with library.open(bundle) as segmenter:
        yield segmenter


@pytest.mark.parametrize("name", ["the photo", "a panorama", "scene 2"])
def test_the_bundles_own_graphs_give_the_same(
    name: str, library: Library, bundle: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    make, words = PICTURES[name]
    with library.open(bundle, graphs_only=1, verify_sizes_only=1) as opened:
        set_words(segmenter, opened, words, tmp_path)
        compare(np.ascontiguousarray(make()), segmenter, opened)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_gives_pythons_results(
    name: str, segmenter: Segmenter, opened: through_c.Segmenter, tmp_path: Path
) -> None:
    make, words = PICTURES[name]
    set_words(segmenter, opened, words, tmp_path)
    compare(np.ascontiguousarray(make()), segmenter, opened)


def test_openvino_runs_a_bundle_for_onnx_runtime_if_it_is_asked_to(
    library: Library, built: Path, tmp_path: Path
) -> None:
    pixels = make_scene(1).image
    with Segmenter.open(built, vocabulary=SCENE_VOCABULARY, cache=False, threads=1) as segmenter:
        expected, name = segmenter(pixels), segmenter.bundle.manifest.backend["name"]
        table = segmenter.save_table(tmp_path / "words.npz")
    if name not in library.engine_names:
        with pytest.raises(OdiseError, match=f"built without '{name}'") as caught:
            library.open(built)
        assert "ask for the engine openvino" in caught.value.hint
    with library.open(built, engine="openvino") as opened:
        opened.set_table(table)
        check_panoptic(opened.segment(pixels), expected)


def test_thresholds_are_those_of_the_call(
    segmenter: Segmenter, opened: through_c.Segmenter, tmp_path: Path
) -> None:
    set_words(segmenter, opened, SCENE_VOCABULARY, tmp_path)
    pixels = make_scene(2).image
    expected = segmenter(pixels, overlap_threshold=0.0, object_mask_threshold=0.3)
    found = opened.segment(pixels, overlap_threshold=0.0, object_mask_threshold=0.3)
    check_panoptic(found, expected)
    assert len(found.segments) != len(opened.segment(pixels).segments)


def test_rows_may_have_gaps_come_upside_down_and_be_bgr(
    segmenter: Segmenter, opened: through_c.Segmenter, tmp_path: Path
) -> None:
    set_words(segmenter, opened, SCENE_VOCABULARY, tmp_path)
    pixels = make_scene(1).image
    height, width, _ = pixels.shape
    plain = opened.segment(pixels).panoptic
    wide = np.full((height, width + 11, 3), 77, np.uint8)
    wide[:, :width] = pixels
    upside_down = np.ascontiguousarray(pixels[::-1])[::-1]
    assert upside_down.strides[0] < 0
    for other in (wide[:, :width], upside_down):
        assert np.array_equal(opened.segment(other).panoptic, plain)
    bgr = np.ascontiguousarray(pixels[:, :, ::-1])
    assert np.array_equal(opened.segment(bgr, bgr=True).panoptic, plain)


def test_the_same_picture_gives_the_same_bytes_again(
    segmenter: Segmenter, opened: through_c.Segmenter, tmp_path: Path
) -> None:
    set_words(segmenter, opened, SCENE_VOCABULARY, tmp_path)
    first, other = make_scene(1).image, load_image(PHOTO)
    before = opened.segment(first, "panoptic", "semantic")
    opened.segment(other)
    after = opened.segment(first, "panoptic", "semantic")
    assert np.array_equal(before.panoptic, after.panoptic)
    assert np.array_equal(before.semantic, after.semantic)
    assert before.segments == after.segments


def test_threads_may_share_a_segmenter(
    segmenter: Segmenter, opened: through_c.Segmenter, tmp_path: Path
) -> None:
    set_words(segmenter, opened, SCENE_VOCABULARY, tmp_path)
    words = tmp_path / "words.npz"
    pictures = [make_scene(seed).image[: 200 + 40 * seed] for seed in (1, 2, 3, 4)]
    alone = [opened.segment(pixels).panoptic for pixels in pictures]

    def segmented(number: int) -> tuple[int, np.ndarray | None]:
        opened.set_table(words)
        return number % 4, opened.segment(pictures[number % 4]).panoptic

    with ThreadPoolExecutor(4) as pool:
        for number, found in pool.map(segmented, range(12)):
            assert np.array_equal(found, alone[number])


def test_signals_are_handled_after_segmenters_were_closed_in_the_order_they_were_opened(
    build: Path, bundle: Path, root: Path
) -> None:
    # In a process of its own: a signal on a stack that is gone ends it.
    code = f"""
import signal
from pathlib import Path
from tests.cpp.library import Library
library = Library(Path({str(build / "libodise_trt.so")!r}))
opened = [library.open({str(bundle)!r}) for _ in range(2)]
for one in opened:
    one.close()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
signal.raise_signal(signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_errors_belong_to_their_thread(library: Library) -> None:
    def failed(name: str) -> str:
        with pytest.raises(OdiseError) as caught:
            library.open(f"/nowhere/{name}")
        return caught.value.message

    with ThreadPoolExecutor(4) as pool:
        names = [f"bundle {number}" for number in range(100)]
        for name, message in zip(names, pool.map(failed, names), strict=True):
            assert message == f"/nowhere/{name} is not a bundle: No such file or directory"


def test_what_cannot_be_done_is_an_error_with_a_hint(
    library: Library, bundle: Path, opened: through_c.Segmenter, segmenter: Segmenter, tmp_path: Path
) -> None:
    def words_of(call: object, *given: object, **options: object) -> tuple[str, str, str]:
        with pytest.raises(OdiseError) as caught:
            call(*given, **options)  # type: ignore[operator]
        return caught.value.name, caught.value.message, caught.value.hint

    set_words(segmenter, opened, WORDS, tmp_path)
    pixels = load_image(PHOTO)
    name, message, _ = words_of(opened.segment, pixels, overlap_threshold=1.5)
    assert (name, message) == ("ArgumentError", "overlap_threshold must be from 0 to 1, not 1.5")
    name, message, _ = words_of(opened.segment, pixels, overlap_threshold=float("nan"))
    assert (name, message) == ("ArgumentError", "overlap_threshold must be from 0 to 1, not nan")
    name, message, hint = words_of(opened.segment, pixels, "semantic", overlap_threshold=0.5)
    assert name == "ArgumentError"
    assert (message, hint) == (
        "the thresholds are for the task panoptic, not for semantic",
        "leave them out",
    )
    assert words_of(opened.segment, pixels[:0])[0] == "ImageError"
    squeezed = np.lib.stride_tricks.as_strided(pixels, pixels.shape, (10, 3, 1))
    assert words_of(opened.segment, squeezed)[1] == "the stride is 10, a row has 1800 bytes"
    assert words_of(library.open, bundle, engine="tensorrt")[0] == "BundleError"
    assert words_of(library.open, bundle, threads=-1)[0] == "ArgumentError"
    with library.open(bundle, verify_sizes_only=1) as other:
        name, message, _ = words_of(other.segment, pixels)
        assert (name, message) == ("VocabularyError", "no vocabulary is set")


def test_a_table_that_does_not_fit_is_refused_and_the_old_one_stays(
    opened: through_c.Segmenter, segmenter: Segmenter, tmp_path: Path
) -> None:
    set_words(segmenter, opened, WORDS, tmp_path)
    good = (tmp_path / "words.npz").read_bytes()
    table = tmp_path / "other.npz"
    changed = bytearray(good)
    changed[good.index(b"text_embed.npy") + 400] ^= 1
    for content in (b"", b"PK", good[:1000], bytes(changed)):
        table.write_bytes(content)
        with pytest.raises(OdiseError, match="is no table of a vocabulary") as caught:
            opened.set_table(table)
        assert caught.value.name == "VocabularyError"
    with np.load(tmp_path / "words.npz") as archive:
        parts = dict(archive)
    np.savez(table, **parts | {"encoder": np.array("0" * 64)})
    with pytest.raises(OdiseError, match="was made by another text encoder"):
        opened.set_table(table)
    with pytest.raises(OdiseError, match="No such file"):
        opened.set_table(tmp_path / "nothing.npz")
    assert [name for name, _ in opened.segment(load_image(PHOTO)).categories] == list(WORDS.names)


# What the host does before and after the engines is numpy's arithmetic, so nothing is left to differ.
@pytest.mark.parametrize(("graphs_only", "most"), [(0, 0.0), (1, 1e-4)], ids=["the host", "graphs"])
def test_feature_maps_are_those_of_python(
    graphs_only: int, most: float, library: Library, bundle: Path, segmenter: Segmenter
) -> None:
    with library.open(bundle, graphs_only=graphs_only, verify_sizes_only=1, threads=1) as opened:
        for pixels in (make_scene(1).image[:300], load_image(PHOTO)):
            expected = segmenter.features(pixels, ("s2", "s3", "s4", "s5"))
            found = opened.features(np.ascontiguousarray(pixels))
            assert found.keys() == expected.maps.keys()
            for name, (values, stride) in found.items():
                assert stride == expected.strides[name]
                assert values.shape == expected.maps[name].shape
                distance = np.linalg.norm(values - expected.maps[name])
                assert distance <= most * np.linalg.norm(expected.maps[name])


def test_the_library_gives_away_only_its_own_names(build: Path) -> None:
    if shutil.which("nm") is None:
        pytest.skip("nm is missing")
    words = ["nm", "-D", "--defined-only", str(build / "libodise_trt.so")]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    given = {line.split()[-1].partition("@")[0] for line in lines} - {"ODISE_TRT_1"}
    header = (Path(__file__).parent.parent.parent / "cpp/include/odise_trt.h").read_text()
    assert given == set(re.findall(r"\b(odise_\w+)\(", header))
    assert given == set(through_c._SIGNATURES)


def test_structures_of_older_programs_are_taken(
    library: Library, opened: through_c.Segmenter, segmenter: Segmenter, tmp_path: Path
) -> None:
    set_words(segmenter, opened, WORDS, tmp_path)
    pixels = load_image(PHOTO)
    image = through_c.Image(data=pixels.ctypes.data, width=600, height=400)
    # Stride and format came later, if one will.
    image.size = through_c.Image.stride.offset
    image.stride, image.format = 7, 99
    handle = ctypes.c_void_p()
    library.check(library.segment(opened.handle, image, 1, None, ctypes.byref(handle)))
    region = through_c.Region()
    region.size = through_c.Region.area.offset
    region.area = -5
    library.check(library.result_segment(handle, 0, ctypes.byref(region)))
    assert region.id == 1
    assert region.area == -5  # What the structure lacks is not written to.
    library.result_free(handle)


def test_memory_stays_where_it_is(opened: through_c.Segmenter, segmenter: Segmenter, tmp_path: Path) -> None:
    set_words(segmenter, opened, SCENE_VOCABULARY, tmp_path)
    pixels = make_scene(1).image[:128, :128]

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    growth = []
    for _ in range(5):
        before = resident()
        for _ in range(12):
            opened.segment(pixels)
        growth.append(resident() - before)
    # A leak shows in every batch; what allocators keep shows in some. One map of ids has 64 KiB.
    assert min(growth) < 12 * 2**16


def test_the_examples_build_against_an_installed_library(
    build: Path, root: Path, bundle: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    run("cmake", "--install", build, "--prefix", tmp_path / "installed")
    run(
        "cmake",
        "-S",
        root / "cpp" / "examples",
        "-B",
        tmp_path / "examples",
        f"-DCMAKE_PREFIX_PATH={tmp_path / 'installed'}",
    )
    run("cmake", "--build", tmp_path / "examples")
    segmenter.vocabulary = SCENE_VOCABULARY
    table = segmenter.save_table(tmp_path / "words.npz")
    pixels = make_scene(2).image
    expected = segmenter(pixels)
    Image.fromarray(pixels).save(tmp_path / "scene.ppm")
    words = [
        tmp_path / "examples" / "odise_segment",
        bundle,
        table,
        tmp_path / "scene.ppm",
        "scene.png",
        "openvino",
    ]
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    for segment, line in zip(expected.segments, said.splitlines(), strict=False):
        assert line.split()[:2] == [str(segment.id), segment.name]
    with Image.open(tmp_path / "scene.png") as overlay:
        assert overlay.size == (640, 640)
    frames = [tmp_path / "examples" / "odise_frames", bundle, table, "512", "512", "openvino"]
    said = subprocess.run(frames, input=pixels.tobytes() * 2, capture_output=True, check=True).stdout.decode()
    first, second = said.splitlines()
    assert first.removeprefix("frame 0") == second.removeprefix("frame 1")
    assert expected.segments[0].name in first
    cut = subprocess.run(frames, input=pixels.tobytes()[:-1], capture_output=True, check=False)
    assert cut.returncode == 1
    assert b"frame 0 is cut off" in cut.stderr
