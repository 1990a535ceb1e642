"""Whether results of libodise_trt are those of Python, and the pictures that both get."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from odise_trt import Segmenter, Vocabulary
from odise_trt.features import Features
from odise_trt.preprocess import load_image
from odise_trt.result import Result
from reference.scenes import SCENE_VOCABULARY, make_scene
from tests.cpp import library as through_c

PHOTO = Path(__file__).parent.parent.parent / "assets" / "photo.jpg"
WORDS = Vocabulary.parse("cup, mug; plate, saucer; spoon; table; book").with_flags(None, "table")
#: Pixels in a million that may differ: within rounding of a tie. The engines between Python's are numpy.
TIES = 100


def set_words(segmenter: Segmenter, other: through_c.Segmenter, words: Vocabulary, folder: Path) -> None:
    segmenter.vocabulary = words
    other.set_table(segmenter.save_table(folder / "words.npz"))


def check_panoptic(found: through_c.Result, expected: Result) -> None:
    assert found.panoptic is not None
    assert expected.panoptic is not None
    few = TIES * expected.panoptic.size / 1e6
    assert np.count_nonzero(found.panoptic != expected.panoptic) <= few
    assert [s.name for s in found.segments] == [s.name for s in expected.segments]
    for mine, theirs in zip(found.segments, expected.segments, strict=True):
        assert (mine.id, mine.category_id, mine.isthing) == (theirs.id, theirs.category_id, theirs.isthing)
        assert mine.score == pytest.approx(theirs.score, abs=2e-5)
        # What the library says of a segment is what its own map says.
        ys, xs = np.nonzero(found.panoptic == mine.id)
        assert mine.area == len(ys)
        assert abs(mine.area - theirs.area) <= few
        if mine.area:
            x, y = int(xs.min()), int(ys.min())
            assert mine.bbox == (x, y, int(xs.max()) + 1 - x, int(ys.max()) + 1 - y)


def check_instances(found: through_c.Result, expected: Result) -> None:
    assert expected.instances is not None
    assert len(found.instances) == len(expected.instances)
    few = TIES * expected.image[..., 0].size / 1e6
    for mine, mask, theirs in zip(found.instances, found.masks, expected.instances, strict=True):
        assert mine.score == pytest.approx(theirs.score, abs=2e-5)
        assert (mine.category_id, mine.name) == (theirs.category_id, theirs.name)
        assert np.count_nonzero(mask != theirs.mask) <= few
        assert mine.area == np.count_nonzero(mask)


def compare(pixels: np.ndarray, segmenter: Segmenter, opened: through_c.Segmenter) -> None:
    expected, found = segmenter.results(pixels), opened.segment(pixels, "panoptic", "semantic", "instance")
    check_panoptic(found, expected["panoptic"])
    check_instances(found, expected["instance"])
    semantic = expected["semantic"].semantic
    assert found.semantic is not None
    assert semantic is not None
    assert np.count_nonzero(found.semantic != semantic) <= TIES * semantic.size / 1e6
    assert segmenter.vocabulary is not None
    categories = [(category.name, category.isthing) for category in segmenter.vocabulary]
    assert found.categories == categories


def compare_maps(found: through_c.Features, expected: Features, most: float = 0.0) -> None:
    """Compare feature maps. `most`: the relative L2 by which each may differ."""
    assert list(found.maps) == list(expected.maps)
    assert found.size == expected.size
    for name, (values, stride) in found.maps.items():
        theirs = expected.maps[name]
        assert (stride, values.shape) == (expected.strides[name], theirs.shape)
        assert np.linalg.norm(values - theirs) <= most * np.linalg.norm(theirs), name


PICTURES = {
    "the photo": (lambda: load_image(PHOTO), WORDS),
    "half of it": (lambda: load_image(PHOTO)[:, :300], WORDS),
    "a part of it": (lambda: load_image(PHOTO)[13:201, 17:118], WORDS),
    "a panorama": (lambda: load_image(PHOTO)[100:130], WORDS),
    "a strip": (lambda: load_image(PHOTO)[:, 100:101], WORDS),
    "a pixel": (lambda: load_image(PHOTO)[200:201, 300:301], WORDS),
    **{f"scene {seed}": (lambda seed=seed: make_scene(seed).image, SCENE_VOCABULARY) for seed in (1, 2, 8)},
}
