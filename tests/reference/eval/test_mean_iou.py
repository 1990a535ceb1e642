"""Mean intersection over union, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from reference.eval.metrics.mean_iou import MeanIoU


def test_a_perfect_prediction_scores_100() -> None:
    measure = MeanIoU(3)
    measure.add(np.array([[0, 1, 2, -1]]), np.array([[0, 1, 2, 0]]))
    result = measure.result()
    assert (result.mean_iou, result.pixel_accuracy, result.categories) == (100, 100, [100, 100, 100])


def test_a_damaged_prediction_scores_what_one_works_out_by_hand() -> None:
    measure = MeanIoU(4)
    measure.add(np.array([[0, 0, 0, 0, 1, 1]]), np.array([[0, 0, 1, 3, 1, 1]]))
    measure.add(np.array([[0, 1, -1, -1]]), np.array([[0, -1, 0, 2]]))
    result = measure.result()
    # Category 0: 3 right of 5, none elsewhere. Category 1: 2 right of 3, one elsewhere. The truth never has
    # 2 and 3; the ignored pixels that are predicted as 0 and 2 count nowhere.
    assert result.categories == pytest.approx([60, 50, None, None])
    assert result.mean_iou == pytest.approx(55)
    assert result.pixel_accuracy == pytest.approx(100 * 5 / 8)


def test_images_are_added_up_before_dividing() -> None:
    measure = MeanIoU(1)
    measure.add(np.zeros((1, 9), int), np.zeros((1, 9), int))
    measure.add(np.zeros((1, 1), int), np.full((1, 1), -1))
    assert measure.result().mean_iou == pytest.approx(90)


def test_without_any_truth_there_is_no_score() -> None:
    measure = MeanIoU(2)
    measure.add(np.full((2, 2), -1), np.zeros((2, 2), int))
    result = measure.result()
    assert (result.mean_iou, result.pixel_accuracy, result.categories) == (None, None, [None, None])


def test_maps_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="pixels"):
        MeanIoU(2).add(np.zeros((2, 2), int), np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="the prediction has category 2, of 2"):
        MeanIoU(2).add(np.zeros((1, 1), int), np.full((1, 1), 2))
