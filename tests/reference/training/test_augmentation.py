"""Large scale jittering on masks small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from reference.datasets.example import Example, Instance, PanopticSegment
from reference.training.augmentation import Jitter, training_sample

AS_IT_IS = Jitter(flip=False, scale=1.0, crop=0.0)

PANOPTIC = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 3, 0], [3, 3, 3, 0]], np.int32)


def example(**changes) -> Example:
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0] = PANOPTIC * 10
    segments = (PanopticSegment(1, 5), PanopticSegment(2, 6, iscrowd=True), PanopticSegment(3, 7))
    return Example("x", image, **{"panoptic": PANOPTIC, "segments": segments, **changes})


def test_an_image_of_the_right_size_stays_as_it_is():
    image, target = training_sample(example(), AS_IT_IS, 4, ("word",))
    assert image.dtype == torch.uint8
    assert image[0].tolist() == (PANOPTIC * 10).tolist()
    assert target.words == ("word",)


def test_crowds_and_void_are_no_segments():
    _, target = training_sample(example(), AS_IT_IS, 4, ())
    assert target.classes.tolist() == [5, 7]
    assert target.masks.tolist() == [(PANOPTIC == 1).tolist(), (PANOPTIC == 3).tolist()]


def test_a_flip_exchanges_left_and_right_of_image_and_masks():
    image, target = training_sample(example(), Jitter(True, 1.0, 0.0), 4, ())
    assert image[0].tolist() == (PANOPTIC[:, ::-1] * 10).tolist()
    assert target.masks[1].tolist() == (PANOPTIC[:, ::-1] == 3).tolist()


def test_a_smaller_image_lies_at_the_top_left_on_grey():
    image, target = training_sample(example(), Jitter(False, 0.5, 1.0), 4, ())
    assert (image[:, 2:] == 128).all()
    assert (image[:, :, 2:] == 128).all()
    # Of each 2 x 2 pixels the one whose middle is nearest to that of the new pixel: the last.
    assert target.masks[0].int().tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert target.masks[1].int().tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_a_larger_image_is_cropped_and_what_is_outside_is_no_segment():
    # 8 x 8 after scaling; the crop begins at (4, 4): the lower right quarter, 3 and void.
    image, target = training_sample(example(), Jitter(False, 2.0, 1.0), 4, ())
    assert target.classes.tolist() == [7]
    assert target.masks[0].int().tolist() == [[1, 1, 0, 0]] * 4
    assert not (image == 128).any()


@pytest.mark.parametrize("crop", [0.0, 0.4, 1.0])
def test_one_number_places_the_crop_on_both_axes(crop):
    marks = np.arange(64, dtype=np.int32).reshape(8, 8)
    part = Jitter(False, 2.0, crop).map(marks, 4, outside=-1)
    start = round(4 * crop)
    assert part.tolist() == marks[start : start + 4, start : start + 4].tolist()


@pytest.mark.parametrize("shape", [(7, 5), (5, 7)])
@pytest.mark.parametrize("scale", [0.3, 0.8, 1.7])
def test_the_shape_of_the_image_is_kept_and_maps_follow_pillows_nearest(shape, scale):
    marks = np.arange(35, dtype=np.int32).reshape(shape)
    part = Jitter(False, scale, 0.0).map(marks, 20, outside=-1)
    height, width = (round(length * scale * 20 / 7) for length in shape)
    expected = np.asarray(Image.fromarray(marks).resize((width, height), Image.Resampling.NEAREST))
    assert part[:height, :width].tolist() == expected[:20, :20].tolist()
    assert (part[height:] == -1).all()
    assert (part[:, width:] == -1).all()


def test_objects_may_overlap_and_stand_in_where_there_is_no_panoptic_map():
    left = np.zeros((4, 4), np.bool_)
    left[:, :3] = True
    objects = (Instance(1, left), Instance(2, left[:, ::-1]), Instance(3, ~left, iscrowd=True))
    _, target = training_sample(example(panoptic=None, instances=objects), AS_IT_IS, 4, ())
    assert target.classes.tolist() == [1, 2]
    assert target.masks.sum().item() == 24


def test_every_category_of_a_semantic_map_is_a_segment():
    semantic = np.where(PANOPTIC == 0, -1, PANOPTIC + 10).astype(np.int32)
    _, target = training_sample(example(panoptic=None, semantic=semantic), Jitter(False, 0.5, 0.0), 4, ())
    assert target.classes.tolist() == [11, 12, 13]
    assert target.masks.sum((1, 2)).tolist() == [1, 1, 1]


def test_an_image_without_segments_has_an_empty_truth():
    _, target = training_sample(example(panoptic=np.zeros((4, 4), np.int32)), AS_IT_IS, 4, ())
    assert target.masks.shape == (0, 4, 4)
    assert target.classes.shape == (0,)


def test_draws_are_spread_over_the_scales_and_half_are_flipped():
    random = np.random.default_rng(0)
    draws = [Jitter.draw(random, (0.1, 2.0)) for _ in range(2000)]
    scales = np.array([draw.scale for draw in draws])
    assert scales.min() >= 0.1
    assert scales.max() <= 2.0
    assert scales.mean() == pytest.approx(1.05, abs=0.05)
    assert sum(draw.flip for draw in draws) == pytest.approx(1000, abs=100)
