"""ONNX Runtime as an engine of libodise_trt gives what it gives in Python, in the same words."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from odise_trt import OdiseError as PythonError
from odise_trt import Segmenter
from odise_trt.bundle.manifest import MANIFEST
from odise_trt.preprocess import load_image
from reference.scenes import SCENE_VOCABULARY, make_scene
from tests.cpp import library as through_c
from tests.cpp.library import Library, OdiseError
from tests.cpp.same_results import PHOTO, PICTURES, compare, compare_maps, set_words

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def onnxruntime_library(library: Library) -> Library:
    if "onnxruntime" not in library.engine_names:
        pytest.skip(
            "libodise_trt was built without ONNX Runtime, whose headers no package brings: docs/cpp.md says"
            " where they are, then make cpp ONNXRUNTIME=FOLDER"
        )
    return library


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segmenter]:
    """Python's segmenter, on ONNX Runtime."""
    with Segmenter.open(built, cache=tmp_path_factory.mktemp("tables"), threads=1) as opened:
        assert opened.bundle.manifest.backend["name"] == "onnxruntime"
        yield opened


@pytest.fixture(scope="module")
def opened(onnxruntime_library: Library, built: Path) -> Iterator[through_c.Segmenter]:
    with onnxruntime_library.open(built, threads=1) as segmenter:
        yield segmenter


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_gives_what_pythons_onnxruntime_gives(
    name: str, python: Segmenter, opened: through_c.Segmenter, tmp_path: Path
) -> None:
    make, words = PICTURES[name]
    set_words(python, opened, words, tmp_path)
    compare(np.ascontiguousarray(make()), python, opened)


@pytest.mark.parametrize("name", ["the photo", "scene 2"])
def test_the_graphs_of_a_bundle_give_the_same_in_onnxruntime(
    name: str, onnxruntime_library: Library, built: Path, python: Segmenter, tmp_path: Path
) -> None:
    make, words = PICTURES[name]
    with onnxruntime_library.open(built, graphs_only=1, verify_sizes_only=1, threads=2) as opened:
        set_words(python, opened, words, tmp_path)
        compare(np.ascontiguousarray(make()), python, opened)


def test_words_are_encoded_by_onnxruntime(
    python: Segmenter, opened: through_c.Segmenter, tmp_path: Path
) -> None:
    set_words(python, opened, SCENE_VOCABULARY, tmp_path)
    pixels = make_scene(8).image
    expected = opened.segment(pixels)
    opened.set_words([(category.names, category.isthing) for category in SCENE_VOCABULARY])
    found = opened.segment(pixels)
    assert np.array_equal(found.panoptic, expected.panoptic)
    assert [one.name for one in found.segments] == [one.name for one in expected.segments]


def test_feature_maps_are_those_of_pythons_onnxruntime(
    python: Segmenter, opened: through_c.Segmenter
) -> None:
    pixels = load_image(PHOTO)
    expected = python.features(pixels, ("s2", "s3", "s4", "s5"))
    found = opened.features(pixels)
    assert found.keys() == expected.maps.keys()
    for name, (values, stride) in found.items():
        assert stride == expected.strides[name]
        distance = np.linalg.norm(values - expected.maps[name]) / np.linalg.norm(expected.maps[name])
        assert distance < 1e-6


@pytest.mark.parametrize("time_step", [0, 500])
def test_raw_features_are_those_of_pythons_onnxruntime(
    time_step: int, onnxruntime_library: Library, raw_built: Path
) -> None:
    pixels = load_image(PHOTO)
    with (
        Segmenter.open(raw_built, cache=False, threads=1) as python,
        onnxruntime_library.open(raw_built, verify_sizes_only=1, threads=1) as opened,
    ):
        compare_maps(
            opened.maps(pixels, time_step=time_step), python.features(pixels, time_step=time_step), 1e-6
        )


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Change an engine, and the manifest with it: only the engine's library can notice."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / MANIFEST).write_text(json.dumps(manifest))


CONTENTS = {
    "damaged": lambda folder: b"\xff" * 100 + (folder / "mask_head.onnx").read_bytes()[100:],
    "empty": lambda folder: b"",
    "another stage": lambda folder: (folder / "clip_pool.onnx").read_bytes(),
}


def refused_in_python(built: Path, folder: Path, content: str) -> PythonError:
    """Copy a bundle with a damaged engine, and return what Python says of it."""
    shutil.copytree(built, folder)
    replace_file(folder, "mask_head.onnx", CONTENTS[content](folder))
    with pytest.raises(PythonError) as refusal, Segmenter.open(folder, cache=False, threads=1):
        pass
    return refusal.value


@pytest.mark.parametrize("content", CONTENTS)
def test_an_engine_that_does_not_open_is_refused_in_the_same_words(
    content: str, onnxruntime_library: Library, built: Path, tmp_path: Path
) -> None:
    expected = refused_in_python(built, tmp_path / "bundle", content)
    with pytest.raises(OdiseError) as found:
        onnxruntime_library.open(tmp_path / "bundle")
    assert found.value.name == type(expected).__name__ == "BackendError"
    assert found.value.message == expected.message
    assert found.value.hint == expected.hint
