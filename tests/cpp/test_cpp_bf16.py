"""Bundles in bf16: libodise_trt rounds where Python does, and refuses the same processors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.stages import all_stages
from odise_trt import OdiseError as PythonError
from odise_trt import Segmenter
from odise_trt.backends.processor import arithmetic
from odise_trt.bundle.manifest import Manifest
from odise_trt.features.names import PROJECTED
from odise_trt.preprocess import load_image
from reference.scenes import make_scene
from tests.cpp import library as through_c
from tests.cpp.library import Library, OdiseError
from tests.cpp.same_results import PHOTO, PICTURES, compare, compare_maps, set_words
from tests.stand_in import bundle as stand_in_bundle

pytestmark = pytest.mark.slow
needs_bf16 = pytest.mark.skipif("bf16" not in arithmetic(), reason="the processor has no bf16 arithmetic")


@pytest.fixture(scope="module")
def half(raw_built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo bundle as a build in bf16 makes it: the graphs are those of fp32."""
    stages = tuple(
        entry if all_stages()[entry.spec.name].bf16 else replace(entry, precision="fp32")
        for entry in Manifest.read(raw_built).stages
    )
    assert [entry.spec.name for entry in stages if entry.precision is None] == [
        "captioner",
        "features",
        "clip_pool",
    ]
    target = tmp_path_factory.mktemp("half") / "demo-openvino-bf16"
    backend = {"name": "openvino", "arithmetic": ["bf16"]}
    return stand_in_bundle.copy(raw_built, target, precision="bf16", backend=backend, stages=stages)


@pytest.fixture(scope="module")
def python(half: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segmenter]:
    with Segmenter.open(half, cache=tmp_path_factory.mktemp("tables"), threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def opened(library: Library, half: Path) -> Iterator[through_c.Segmenter]:
    with library.open(half, threads=1) as segmenter:
        yield segmenter


@needs_bf16
@pytest.mark.parametrize("name", ["the photo", "a panorama", "scene 1", "scene 2"])
def test_a_picture_gives_pythons_results(
    name: str, python: Segmenter, opened: through_c.Segmenter, tmp_path: Path
) -> None:
    make, words = PICTURES[name]
    set_words(python, opened, words, tmp_path)
    compare(np.ascontiguousarray(make()), python, opened)


@needs_bf16
def test_maps_are_rounded_as_in_python(
    python: Segmenter, opened: through_c.Segmenter, raw_segmenter: Segmenter
) -> None:
    pixels = load_image(PHOTO)
    found, exact = opened.maps(pixels), raw_segmenter.features(pixels).maps
    compare_maps(found, python.features(pixels))
    for name, values in opened.features(pixels).items():
        assert np.array_equal(values[0], found.maps[name][0])
    for name, (values, _) in found.maps.items():
        distance = np.linalg.norm(values - exact[name]) / np.linalg.norm(exact[name])
        if name in PROJECTED:
            assert 1e-3 < distance < 5e-2, name
        elif name.startswith("un"):
            # Computed in fp32, from what the captioner gives in bf16.
            assert 0 < distance < 1e-2, name
        else:
            assert distance == 0, name


@pytest.mark.parametrize("needed", [["fp4"], ["bf16", "fp4"], ["fp4", "fp2"], ["bf16", "int8"]], ids=" ".join)
def test_a_processor_that_lacks_arithmetic_is_refused_in_pythons_words(
    needed: list[str], library: Library, half: Path, tmp_path: Path
) -> None:
    backend = {"name": "openvino", "arithmetic": needed}
    folder = stand_in_bundle.copy(half, tmp_path / "demo-openvino-bf16", backend=backend)
    if all(name in arithmetic() for name in needed):
        with library.open(folder, verify_sizes_only=1, threads=1) as opened:
            assert opened.features(np.ascontiguousarray(make_scene(1).image[:128, :128]))
        return
    with pytest.raises(PythonError) as expected, Segmenter.open(folder, cache=False):
        pass
    with pytest.raises(OdiseError) as found:
        library.open(folder)
    assert found.value.name == "BundleError"
    assert (found.value.message, found.value.hint) == (expected.value.message, expected.value.hint)
    assert "it needs a processor with " in found.value.message
