"""Panoptic merging, semantic scores and instances, worked out by hand on small maps."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.model import postprocess
from reference.model.postprocess import SegmentInfo, instances, resize_masks, semantic

# At the official thresholds.
panoptic = partial(postprocess.panoptic, object_mask_threshold=0.0, overlap_threshold=0.8)

IN, OUT = 4.0, -4.0


def _classes(*winners: int, categories: int = 3, certainty: float = 0.9) -> torch.Tensor:
    """Log-probabilities in which query i is `winners[i]`; `categories` itself is "no object"."""
    rest = (1 - certainty) / categories
    rows = [[certainty if c == w else rest for c in range(categories + 1)] for w in winners]
    return torch.tensor(rows).log()


def _masks(*rows: str) -> torch.Tensor:
    """One row of pixels per query: `#` inside, `.` outside, `+` inside but weaker."""
    logits = {"#": IN, ".": OUT, "+": 1.0}
    return torch.tensor([[[logits[pixel] for pixel in row]] for row in rows])


def test_things_of_one_class_stay_apart_and_stuff_merges_into_its_first_segment():
    cls, masks = _classes(0, 0, 1, 1), _masks("##......", "..##....", "....##..", "......##")
    result = panoptic(cls, masks, things={0})
    assert result.map.tolist() == [[1, 1, 2, 2, 3, 3, 3, 3]]
    assert result.segments == (SegmentInfo(1, True, 0), SegmentInfo(2, True, 0), SegmentInfo(3, False, 1))
    assert result.segments[2].to_json() == {"id": 3, "isthing": False, "category_id": 1}
    assert panoptic(cls, masks, things={0, 1}).map.tolist() == [[1, 1, 2, 2, 3, 3, 4, 4]]


def test_a_query_that_is_no_object_takes_no_pixel_from_others():
    result = panoptic(_classes(3, 0), _masks("####", "++++"), things={0})
    assert result.map.tolist() == [[1, 1, 1, 1]]


def test_a_pixel_that_its_owner_does_not_cover_belongs_to_nobody():
    result = panoptic(_classes(0), _masks("##.."), things={0}, overlap_threshold=0.0)
    assert result.map.tolist() == [[1, 1, 0, 0]]


@pytest.mark.parametrize(("threshold", "kept"), [(0.8, False), (0.51, False), (0.5, True), (0.0, True)])
def test_a_segment_that_lost_too_much_of_its_mask_is_dropped_and_its_pixels_stay_empty(threshold, kept):
    # The second query covers four pixels and keeps two of them.
    cls, masks = _classes(0, 1), _masks("##..##", "++++..")
    result = panoptic(cls, masks, things={0, 1}, overlap_threshold=threshold)
    second = 2 if kept else 0
    assert result.map.tolist() == [[1, 1, second, second, 1, 1]]
    assert len(result.segments) == 1 + kept


def test_a_segment_that_wins_no_pixel_is_dropped_at_any_threshold():
    result = panoptic(_classes(0, 1), _masks("####", "++++"), things={0}, overlap_threshold=0.0)
    assert result.segments == (SegmentInfo(1, True, 0),)


def test_queries_that_do_not_score_above_the_threshold_are_left_out():
    cls, masks = _classes(0, certainty=0.6), _masks("####")
    assert panoptic(cls, masks, {0}, object_mask_threshold=0.6 + 1e-6).segments == ()
    assert len(panoptic(cls, masks, {0}, object_mask_threshold=0.6 - 1e-6).segments) == 1


def test_an_image_of_nothing_has_an_empty_map():
    result = panoptic(_classes(3, 3), _masks("##", "##"), things={0})
    assert result.map.tolist() == [[0, 0]]
    assert result.map.dtype == torch.int32
    assert result.segments == ()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.sets(st.integers(0, 3)), st.sampled_from([0.0, 0.4, 0.8]))
def test_ids_count_from_one_each_has_pixels_and_stuff_appears_once(seed, things, threshold):
    generator = torch.Generator().manual_seed(seed)
    cls = torch.randn(9, 5, generator=generator).mul(3).log_softmax(-1)
    result = panoptic(cls, torch.randn(9, 6, 7, generator=generator) * 3, things, overlap_threshold=threshold)
    assert [segment.id for segment in result.segments] == list(range(1, len(result.segments) + 1))
    assert set(result.map.unique().tolist()) - {0} == {segment.id for segment in result.segments}
    stuff = [segment.category_id for segment in result.segments if not segment.isthing]
    assert len(stuff) == len(set(stuff))
    assert all(segment.isthing == (segment.category_id in things) for segment in result.segments)


def test_semantic_scores_add_up_the_queries_without_no_object():
    found = semantic(_classes(0, 2), _masks("#.", "##"))
    inside, outside, rest = 1 / (1 + math.exp(-IN)), 1 / (1 + math.exp(IN)), 0.1 / 3
    assert found.shape == (3, 1, 2)
    assert found[0].flatten().tolist() == pytest.approx(
        [0.9 * inside + rest * inside, 0.9 * outside + rest * inside]
    )
    assert found[1].flatten().tolist() == pytest.approx([2 * rest * inside, rest * (inside + outside)])


def test_an_instance_scores_by_its_class_and_the_mean_of_its_mask():
    found = instances(_classes(0, 1), _masks("##..", "+..."), topk=2)
    order = found.classes.argsort()
    assert found.classes[order].tolist() == [0, 1]
    assert found.masks[order].tolist() == [[[True, True, False, False]], [[True, False, False, False]]]
    expected = [0.9 / (1 + math.exp(-IN)), 0.9 / (1 + math.exp(-1.0))]
    assert found.scores[order].tolist() == pytest.approx(expected, rel=1e-5)


def test_one_query_may_be_several_instances_and_things_are_picked_after_the_best():
    cls, masks = _classes(0, 1, certainty=0.7), _masks("##..", "..##")
    assert sorted(instances(cls, masks, topk=6).classes.tolist()) == [0, 0, 1, 1, 2, 2]
    assert instances(cls, masks, topk=2, things={0}).classes.tolist() == [0]
    assert instances(cls, masks, topk=2, things={2}).classes.tolist() == []


def test_more_instances_than_pairs_can_be_asked_for_and_an_empty_mask_scores_zero():
    found = instances(_classes(0), _masks("...."), topk=100)
    assert found.scores.tolist() == [0.0, 0.0, 0.0]
    assert not found.masks.any()


def test_masks_lose_the_padding_between_the_two_resizes():
    # The right half of the padded image is padding; its logits must not reach the result.
    masks = torch.tensor([[[1.0, 1.0, 9.0, 9.0]] * 4])
    found = resize_masks(masks, padded_hw=(16, 16), image_hw=(16, 6), out_hw=(8, 3))
    assert found.shape == (1, 8, 3)
    assert found.flatten().tolist() == pytest.approx([1.0] * 24)


def test_masks_are_resized_in_two_steps():
    masks = torch.tensor([[[0.0, 4.0]]])
    # By hand: 2 -> 4 pixels is 0, 1, 3, 4; the first two alone, 2 -> 4 pixels, are 0, 0.25, 0.75, 1.
    found = resize_masks(masks, padded_hw=(1, 4), image_hw=(1, 2), out_hw=(1, 4))
    assert found.flatten().tolist() == pytest.approx([0.0, 0.25, 0.75, 1.0])
