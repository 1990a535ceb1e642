"""Excluding categories by bounds changes no pixel, except where two scores are equal within rounding."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from odise_trt import semantic_map
from odise_trt.masks import MaskTiles
from odise_trt.semantic_map import first_largest, semantic


def case(
    seed: int, categories: int, peaked: float, queries: int = 9, scored: bool = True
) -> tuple[MaskTiles, np.ndarray, np.ndarray]:
    """Masks with hard and soft borders, probabilities, and all scores in float64."""
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal((queries, 5, 7)) * rng.choice([1.0, 4.0, 30.0], (queries, 1, 1))
    masks = coarse.repeat(6, 1).repeat(6, 2).astype(np.float32)
    logits = rng.standard_normal((queries, categories + 1)) * peaked
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = (probabilities / probabilities.sum(1, keepdims=True)).astype(np.float32)
    tiles = MaskTiles(masks, (60, 84), (58, 84), (101, 143))
    shape = (queries, 101, 143)
    logits_out = np.empty(shape, np.float32)
    for tile in tiles:
        logits_out[:, tile.rows, tile.columns] = tile.logits(np.arange(queries))
    field = 1 / (1 + np.exp(-logits_out.astype(np.float64)))
    if not scored:
        return tiles, probabilities, field
    return tiles, probabilities, np.einsum("qk,qhw->khw", probabilities[:, :-1].astype(np.float64), field)


@pytest.mark.parametrize("categories", [1, 2, 47, 49, 160])
@pytest.mark.parametrize("peaked", [0.2, 3.0, 12.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_pixel_has_the_category_with_the_largest_score(
    seed: int, categories: int, peaked: float
) -> None:
    tiles, probabilities, scores = case(seed, categories, peaked)
    found = semantic(tiles, probabilities)
    taken = np.take_along_axis(scores, found[None].astype(np.int64), axis=0)[0]
    best = scores.max(axis=0)
    assert found.dtype == np.int32
    assert (taken >= best * (1 - 1e-5)).all()
    assert (found == scores.argmax(axis=0)).mean() > 0.999


@pytest.mark.parametrize("most", [1, 1 << 10, 1 << 30])
def test_the_size_of_the_blocks_changes_no_pixel(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tiles, probabilities, _ = case(3, 300, 2.0)
    expected = semantic(tiles, probabilities)
    monkeypatch.setattr(semantic_map, "_SCORES", most)
    assert (semantic(tiles, probabilities) == expected).mean() > 0.999


def test_of_equal_categories_the_first_has_the_pixels() -> None:
    tiles, probabilities, _ = case(5, 6, 2.0)
    probabilities[:, 1:6] = probabilities[:, :1]
    assert (semantic(tiles, probabilities) == 0).all()


def test_the_first_of_the_largest_is_found() -> None:
    values = np.random.default_rng(0).integers(0, 3, (5, 40, 3)).astype(np.float32)
    np.testing.assert_array_equal(first_largest(values), values.argmax(axis=0))


def test_ten_thousand_categories_need_no_score_of_every_category_at_every_pixel() -> None:
    tiles, probabilities = case(7, 10_000, 4.0, scored=False)[:2]
    tracemalloc.start()
    semantic(tiles, probabilities)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All scores would be 10,000 x 101 x 143 x 4 bytes: 578 MB.
    assert peak < 30e6
