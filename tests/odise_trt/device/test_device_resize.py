"""Pictures on the GPU that are resized there, on the stand-in: the same map as from the host, bit for bit."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export.onnx_export import export_stage
from export.stages.resize import Resize
from odise_trt.bundle.manifest import Manifest, StageEntry
from odise_trt.errors import BackendError, ImageError
from reference.preset import DEMO
from tests.odise_trt.device.on_stand_in import OnStandIn, assert_same
from tests.stand_in import bundle as stand_in
from tests.stand_in.arrays import ByDLPack, ByInterface

#: Of one row of windows or two, of a shorter side that stays as it is, and of odd sides.
MORE = [(128, 200), (61, 300), (257, 259)]


@pytest.fixture(scope="module")
def with_resize(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the stand-in, with the stage `resize`."""
    made = tmp_path_factory.mktemp("resize")
    spec = Resize.declare(DEMO).at("fp32")
    stage: Any = Resize(SimpleNamespace())  # type: ignore[arg-type]
    export_stage(stage, spec, made, precision="fp32")
    stages = (*Manifest.read(source).stages, StageEntry(spec, "resize.onnx", ("resize.onnx",), "", 0.0, 0))
    host = stand_in.copy(source, made / "host", stages=stages)
    (made / "resize.onnx").rename(host / "resize.onnx")
    return stand_in.make(host, source.parent / "stand-in-resize")


@pytest.fixture
def resizing(with_resize: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OnStandIn]:
    made = OnStandIn(with_resize, monkeypatch)
    with made.segmenter:
        yield made
    gc.collect()
    assert set(made.cuda.alive().values()) == {0}


def cut(photo: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(photo).resize((width, height)))


@pytest.mark.parametrize(
    "size",
    [(90, 90), (300, 170), *(pytest.param(size, marks=pytest.mark.slow) for size in MORE)],
    ids=str,
)
def test_it_gives_the_map_that_the_picture_gives_from_the_host(
    resizing: OnStandIn, photo: np.ndarray, size: tuple[int, int]
) -> None:
    pixels = cut(photo, *size)
    expected = resizing.segmenter(pixels)
    found = resizing.segmenter(ByInterface(resizing.cuda, pixels, 64), ids="device")
    np.testing.assert_array_equal(found.panoptic, expected.panoptic)
    assert found.segments == expected.segments
    np.testing.assert_array_equal(found.image, pixels)


def test_only_thresholds_and_tables_cross(resizing: OnStandIn, photo: np.ndarray) -> None:
    array = ByDLPack(resizing.cuda, cut(photo, 150, 200))
    resizing.segmenter(array, ids="device")
    counts = resizing.cuda.counts
    uploaded, downloaded = counts.uploaded, counts.downloaded
    resizing.segmenter(array, ids="device")
    assert counts.uploaded - uploaded == 2 * 256
    assert counts.downloaded - downloaded < 6000


@pytest.mark.slow
def test_pictures_of_several_sizes_share_streams_memory_and_recordings(
    resizing: OnStandIn, photo: np.ndarray
) -> None:
    pictures = [cut(photo, *size) for size in ((150, 200), (128, 171), (75, 100), (150, 200), (75, 100))]
    expected = [resizing.segmenter(pixels).panoptic for pixels in pictures]
    frames = (ByDLPack(resizing.cuda, pixels) for pixels in pictures)
    found = [one.result for one in resizing.segmenter.stream(frames, ids="device")]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.panoptic, other)


def test_scratch_memory_that_grows_for_a_resize_is_the_programs_too(
    with_resize: Path, monkeypatch: pytest.MonkeyPatch, photo: np.ndarray
) -> None:
    hungry = OnStandIn(with_resize, monkeypatch, hungry={"resize": 400.0})
    pixels = cut(photo, 90, 90)
    with hungry.segmenter:
        expected = [hungry.segmenter.results(pixels, ("panoptic",)) for _ in range(3)][-1]
        assert hungry.cuda.alive()["graphs"] == 1
        found = hungry.segmenter.results(ByDLPack(hungry.cuda, pixels), ("panoptic",))
        assert_same(found, expected, ("panoptic",))


def test_a_stage_that_fails_is_named(resizing: OnStandIn, photo: np.ndarray) -> None:
    resizing.machine.refuses["resize"] = "internal error"
    with pytest.raises(BackendError, match="stage resize: tensorrt could not run: internal error"):
        resizing.segmenter(ByDLPack(resizing.cuda, cut(photo, 90, 90)))
    resizing.machine.refuses.clear()
    assert resizing.segmenter(cut(photo, 90, 90)).segments


@pytest.mark.parametrize("size", [(4, 8193), (250, 4100)], ids=str)
def test_a_picture_that_is_too_large_for_the_stage_is_refused(
    resizing: OnStandIn, size: tuple[int, int]
) -> None:
    array = ByDLPack(resizing.cuda, np.zeros((*size, 3), np.uint8))
    with pytest.raises(ImageError, match="too much for the stage resize\n  copy it to the host"):
        resizing.segmenter(array)


def test_a_bundle_without_the_stage_says_how_it_gets_it(own: OnStandIn, photo: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"does not resize pictures on the GPU\n.*--stage resize"):
        own.segmenter(ByDLPack(own.cuda, cut(photo, 90, 90)))


def test_the_host_does_not_need_the_stage(resizing: OnStandIn, photo: np.ndarray) -> None:
    resizing.segmenter(cut(photo, 90, 90))
    assert "resize" not in {stage for stage, _ in resizing.machine.ran}
