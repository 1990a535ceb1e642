"""The runtime on ONNX Runtime in fp32 gives the reference's panoptic maps, whatever the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from odise_trt import Segmenter, Vocabulary
from odise_trt.result import Result
from reference.checkpoint import load_weights
from reference.inference import segment_photo
from reference.model import ODISE
from reference.scenes import SCENE_VOCABULARY, make_scene

AGREEMENT = 0.999


@pytest.fixture(scope="module")
def model() -> ODISE:
    return load_weights("demo", "demo")


@pytest.fixture(scope="module")
def segmenter(demo_bundle: Path) -> Iterator[Segmenter]:
    vocabulary = SCENE_VOCABULARY + Vocabulary.parse("cup, mug; table; bag, handbag, purse; floor; wall")
    with Segmenter.open(demo_bundle, vocabulary=vocabulary) as opened:
        yield opened


def categories(panoptic: np.ndarray, segments: object) -> np.ndarray:
    """Category of every pixel, -1 where there is no segment."""
    table = {0: -1} | {segment.id: segment.category_id for segment in segments}  # type: ignore[attr-defined]
    return np.vectorize(table.get, otypes=[np.int64])(panoptic)


def assert_same(segmenter: Segmenter, model: ODISE, photo: Path) -> Result:
    """Segments and their categories agree with the reference's, pixel by pixel."""
    result = segmenter(photo)
    assert result.panoptic is not None
    assert segmenter.vocabulary is not None
    expected = segment_photo(model, photo, segmenter.vocabulary).panoptic
    expected_map = expected.map.numpy()
    assert result.panoptic.shape == expected_map.shape
    same = (result.panoptic == expected_map) & (
        categories(result.panoptic, result.segments) == categories(expected_map, expected.segments)
    )
    assert same.mean() >= AGREEMENT
    return result


PHOTOS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda photo: photo,
    "half of it": lambda photo: photo.crop((0, 0, photo.width // 2, photo.height)),
    "small": lambda photo: photo.resize((224, 171)),
    "grayscale": lambda photo: photo.convert("L"),
}


@pytest.mark.parametrize("variant", PHOTOS)
def test_a_photo_gives_the_reference_panoptic_map(
    variant: str, root: Path, tmp_path: Path, segmenter: Segmenter, model: ODISE
) -> None:
    with Image.open(root / "assets" / "photo.jpg") as photo:
        PHOTOS[variant](photo).save(tmp_path / "photo.jpg")
    assert_same(segmenter, model, tmp_path / "photo.jpg")


def portrait(scene: Image.Image) -> Image.Image:
    return scene.crop((100, 0, 400, 512))


VARIANTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "square": lambda scene: scene,
    "portrait": portrait,
    "landscape of an odd size": lambda scene: scene.crop((0, 100, 511, 443)),
    "grayscale": lambda scene: scene.convert("L"),
    "with alpha": lambda scene: scene.convert("RGBA"),
    "smaller than 64 px": lambda scene: scene.resize((61, 43)),
    "larger than 2560 px": lambda scene: scene.resize((2700, 1800)),
    "panorama with windows below the full size": lambda scene: scene.crop((0, 200, 512, 260)),
}


#: 13 windows. `make test` has the rule of the longest side in tests of `evaluation_size`.
LONG = {"larger than 2560 px"}


@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in VARIANTS]
)
def test_any_size_and_mode_gives_the_reference_panoptic_map(
    variant: str, tmp_path: Path, segmenter: Segmenter, model: ODISE
) -> None:
    scene = Image.fromarray(make_scene(seed=7).image)
    VARIANTS[variant](scene).save(tmp_path / "scene.png")
    assert_same(segmenter, model, tmp_path / "scene.png")


def test_a_rotated_photo_is_turned_upright_first(tmp_path: Path, segmenter: Segmenter, model: ODISE) -> None:
    scene = Image.fromarray(make_scene(seed=7).image).crop((0, 0, 512, 300))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter
    scene.save(tmp_path / "scene.jpg", exif=exif)
    result = assert_same(segmenter, model, tmp_path / "scene.jpg")
    assert result.image.shape[:2] == (512, 300)


def test_the_maps_that_are_compared_have_segments(segmenter: Segmenter) -> None:
    # Seeded weights know nothing, but maps without segments would agree about nothing.
    assert len(segmenter(make_scene(seed=7).image).segments) >= 3
