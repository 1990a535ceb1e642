"""Results equal the official rules written out plainly, on whole float64 maps."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odise_trt.interpolate import AxisMap
from odise_trt.masks import MaskTiles, sigmoid
from odise_trt.postprocess import class_probabilities, instances, panoptic
from odise_trt.semantic_map import semantic

torch = pytest.importorskip("torch", reason="resizing is compared with torch's")

NAMES = ("person", "car", "sky", "road")
ISTHING = (True, True, False, False)


def resized(pred_masks: np.ndarray, padded, picture, output) -> np.ndarray:
    """The official two steps, in float64."""
    masks = torch.from_numpy(pred_masks).double()[None]
    resize = torch.nn.functional.interpolate
    whole = resize(masks, size=padded, mode="bilinear", align_corners=False)
    part = whole[:, :, : picture[0], : picture[1]]
    return resize(part, size=output, mode="bilinear", align_corners=False)[0].numpy()


def plain_panoptic(logits, probabilities, isthing, threshold, overlap):
    """The rules of the official model, one query after the other over whole maps."""
    category, score = probabilities.argmax(1), probabilities.max(1)
    kept = [q for q in range(len(score)) if category[q] != len(isthing) and score[q] > threshold]
    out = np.zeros(logits.shape[1:], np.int32)
    found: list[tuple[int, int]] = []
    if not kept:
        return out, found
    probability = 1 / (1 + np.exp(-logits[kept]))
    winner = (probability * score[kept][:, None, None]).argmax(0)
    stuff: dict[int, int] = {}
    for place, query in enumerate(kept):
        kind = int(category[query])
        won, whole = winner == place, probability[place] >= 0.5
        mask = won & whole
        if not mask.any() or won.sum() / whole.sum() < overlap:
            continue
        if not isthing[kind] and kind in stuff:
            out[mask] = stuff[kind]
            continue
        found.append((len(found) + 1, kind))
        out[mask] = len(found)
        if not isthing[kind]:
            stuff[kind] = len(found)
    return out, found


def scene(seed: int, queries: int = 7, height: int = 12, width: int = 16, smooth: float = 4.0):
    """Smooth mask logits (Q, h, w) with clear regions, and class log-probabilities."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.standard_normal((1, queries, 3, 4)) * smooth)
    masks = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")[0]
    logits = rng.standard_normal((queries, len(NAMES) + 1)) * 3
    return masks.float().numpy(), logits.astype(np.float32)


SIZES = [
    ((48, 64), (48, 64), (48, 64)),
    ((48, 64), (41, 60), (150, 220)),  # padding, enlarged
    ((48, 64), (48, 33), (20, 13)),  # shrunk
    ((48, 64), (1, 64), (3, 500)),  # a strip
    ((48, 64), (45, 64), (1, 1)),
]


@pytest.mark.parametrize(("padded", "picture", "output"), SIZES)
def test_every_tile_holds_the_two_step_resize_and_its_bounds(padded, picture, output) -> None:
    masks, _ = scene(0)
    expected = resized(masks, padded, picture, output)
    seen = np.zeros(output, int)
    for tile in MaskTiles(masks, padded, picture, output):
        logits = tile.logits(np.arange(len(masks)))
        np.testing.assert_allclose(logits, expected[:, tile.rows, tile.columns], atol=2e-4)
        assert (logits <= tile.high[:, None, None]).all()
        assert (logits >= tile.low[:, None, None]).all()
        assert logits.shape[1:] == tile.shape
        seen[tile.rows, tile.columns] += 1

    assert (seen == 1).all()


@pytest.mark.parametrize(("padded", "picture", "output"), SIZES)
def test_a_flat_mask_stays_within_its_bounds_in_spite_of_rounding(padded, picture, output) -> None:
    flat = np.linspace(-30, 30, 501, dtype=np.float32)[:, None, None]
    for tile in MaskTiles(np.broadcast_to(flat, (501, 12, 16)), padded, picture, output):
        logits = tile.logits(np.arange(501))
        assert (logits <= tile.high[:, None, None]).all()
        assert (logits >= tile.low[:, None, None]).all()


@given(st.integers(1, 40), st.integers(1, 90))
def test_resizing_an_axis_equals_torch_for_any_sizes(size: int, out: int) -> None:
    line = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    mapping = AxisMap.bilinear(size, out)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(line)[None, None], size=out, mode="linear", align_corners=False
    )

    np.testing.assert_allclose((line[mapping.index] * mapping.weight).sum(1), expected[0, 0], atol=3e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from(SIZES),
    st.sampled_from([0.0, 0.4, 0.8]),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([0.1, 1.0, 6.0]),
)
def test_panoptic_maps_follow_the_official_rules(seed, sizes, overlap, threshold, contrast) -> None:
    masks, logits = scene(seed, smooth=contrast)
    probabilities = class_probabilities(logits)
    found, segments = panoptic(MaskTiles(masks, *sizes), probabilities, NAMES, ISTHING, threshold, overlap)
    expected, expected_segments = plain_panoptic(
        resized(masks, *sizes), probabilities.astype(np.float64), ISTHING, threshold, overlap
    )

    assert [(s.id, s.category_id) for s in segments] == expected_segments
    assert (found == expected).mean() >= 0.999
    for segment in segments:
        rows, columns = np.nonzero(found == segment.id)
        assert segment.area == len(rows) > 0
        assert segment.bbox == (
            columns.min(),
            rows.min(),
            np.ptp(columns) + 1,
            np.ptp(rows) + 1,
        )
        assert segment.name == NAMES[segment.category_id]
        assert segment.isthing == ISTHING[segment.category_id]
    assert set(np.unique(found)) - {0} == {segment.id for segment in segments}


def halves(strength: float = 9.0) -> np.ndarray:
    """Two queries: the left and the right half of 8 x 8 elements."""
    left = np.full((8, 8), -strength, np.float32)
    left[:, :4] = strength
    return np.stack([left, -left])


def certain(*categories: int) -> np.ndarray:
    probabilities = np.full((len(categories), len(NAMES) + 1), 0.01, np.float32)
    for query, category in enumerate(categories):
        probabilities[query, category] = 0.96 - 0.1 * query
    return probabilities


def run_panoptic(masks: np.ndarray, probabilities: np.ndarray, overlap: float = 0.8):
    tiles = MaskTiles(masks, (32, 32), (32, 32), (32, 32))
    return panoptic(tiles, probabilities, NAMES, ISTHING, 0.0, overlap)


def test_two_regions_of_one_stuff_category_become_one_segment_with_the_better_score() -> None:
    found, segments = run_panoptic(halves(), certain(2, 2))

    assert len(segments) == 1
    assert segments[0].score == pytest.approx(0.96)
    assert segments[0].area == 32 * 32
    assert segments[0].bbox == (0, 0, 32, 32)
    assert (found == 1).all()


def test_two_things_of_one_category_stay_two_segments() -> None:
    found, segments = run_panoptic(halves(), certain(0, 0))

    assert [segment.id for segment in segments] == [1, 2]
    assert found[5, 5] == 1
    assert found[5, 25] == 2
    assert [segment.bbox for segment in segments] == [(0, 0, 16, 32), (16, 0, 16, 32)]


def test_a_query_that_wins_too_little_of_its_mask_is_dropped() -> None:
    # The second covers everything, and wins only the half that the first leaves.
    masks = np.stack([halves()[0], np.full((8, 8), 9, np.float32)])

    assert len(run_panoptic(masks, certain(0, 1), overlap=0.8)[1]) == 1
    assert len(run_panoptic(masks, certain(0, 1), overlap=0.4)[1]) == 2


def test_of_queries_that_are_equal_the_first_wins_every_pixel() -> None:
    probabilities = certain(0, 1)
    probabilities[1, 1] = probabilities[0, 0]
    found, segments = run_panoptic(np.stack([halves()[0]] * 2), probabilities, overlap=0.0)

    assert [(segment.category_id, segment.area) for segment in segments] == [(0, 16 * 32)]
    assert set(np.unique(found)) == {0, 1}


def test_nothing_found_is_an_empty_map() -> None:
    found, segments = run_panoptic(halves(), certain(4, 4))

    assert segments == []
    assert found.dtype == np.int32
    assert not found.any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(SIZES))
def test_semantic_maps_follow_the_official_rule(seed, sizes) -> None:
    masks, logits = scene(seed)
    probabilities = class_probabilities(logits)
    found = semantic(MaskTiles(masks, *sizes), probabilities)
    probability = 1 / (1 + np.exp(-resized(masks, *sizes)))
    scores = np.einsum("qk,qhw->khw", probabilities[:, :-1].astype(np.float64), probability)

    assert found.shape == sizes[2]
    assert (found == scores.argmax(0)).mean() >= 0.999


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(SIZES), st.sampled_from([3, 10, 100]))
def test_instances_follow_the_official_rules(seed, sizes, topk) -> None:
    masks, logits = scene(seed)
    probabilities = class_probabilities(logits)
    found = instances(MaskTiles(masks, *sizes), probabilities, NAMES, ISTHING, topk)

    whole = resized(masks, *sizes)
    expected = []
    flat = probabilities[:, :-1].astype(np.float64).ravel()
    for pair in np.argsort(-flat)[:topk]:
        query, category = divmod(int(pair), len(NAMES))
        mask = whole[query] > 0
        if ISTHING[category] and mask.any():
            mean = (1 / (1 + np.exp(-whole[query][mask]))).sum() / (mask.sum() + 1e-6)
            expected.append((flat[pair] * mean, category, int(mask.sum())))
    expected.sort(reverse=True)

    assert [instance.category_id for instance in found] == [category for _, category, _ in expected]
    np.testing.assert_allclose([i.score for i in found], [score for score, _, _ in expected], rtol=1e-3)
    for instance, (_, _, area) in zip(found, expected, strict=True):
        rows, columns = np.nonzero(instance.mask)
        assert instance.area == len(rows) == pytest.approx(area, rel=2e-3, abs=2)
        assert instance.bbox == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)


def test_class_probabilities_are_the_softmax_in_float64() -> None:
    logits = (np.random.default_rng(0).standard_normal((5, 7)) * 20).astype(np.float32)
    exact = np.exp(logits.astype(np.float64))

    np.testing.assert_allclose(
        class_probabilities(logits), exact / exact.sum(1, keepdims=True), rtol=1e-5, atol=1e-12
    )


def test_sigmoid_of_large_logits_does_not_warn(recwarn) -> None:
    np.testing.assert_array_equal(sigmoid(np.array([-1e4, 0, 1e4], np.float32)), [0, 0.5, 1])
    assert not recwarn.list


def test_twelve_megapixels_with_a_hundred_queries_need_little_memory() -> None:
    # Whole maps would be 4.8 GB.
    masks, _ = scene(3, queries=100, height=256, width=344)
    logits = np.random.default_rng(0).standard_normal((100, 5)).astype(np.float32) * 3
    probabilities = class_probabilities(logits)
    tiles = MaskTiles(masks, (1024, 1376), (1024, 1365), (3000, 4000))
    tracemalloc.start()
    panoptic(tiles, probabilities, NAMES, ISTHING, 0.0, 0.8)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 150e6
