"""The pixel decoder: its position embedding, its reference points and its names."""

from __future__ import annotations

import math

import pytest
import torch

from reference.model.pixel_decoder import PixelDecoder, reference_points
from reference.model.position import sine_position
from reference.preset import GOLDEN_LABEL


def test_the_position_embedding_is_the_one_of_detr():
    height, width, dim = 3, 4, 8
    found = sine_position(height, width, dim, torch.zeros((), dtype=torch.float64))
    assert found.shape == (1, height * width, dim)
    for row in range(height):
        for column in range(width):
            angles = [2 * math.pi * (row + 1) / (height + 1e-6), 2 * math.pi * (column + 1) / (width + 1e-6)]
            expected = []
            for angle in angles:  # the row first
                for frequency in (1.0, 10000 ** (2 / 4)):
                    expected += [math.sin(angle / frequency), math.cos(angle / frequency)]
            assert found[0, row * width + column].tolist() == pytest.approx(expected, abs=1e-12)


def test_reference_points_are_the_centres_of_the_pixels_level_by_level():
    points = reference_points([(1, 2), (2, 1)], torch.zeros(()))
    assert points.tolist() == [[0.25, 0.5], [0.75, 0.5], [0.5, 0.25], [0.5, 0.75]]


def test_levels_keep_their_sizes_and_mask_features_have_stride_four():
    torch.manual_seed(0)
    decoder = PixelDecoder(GOLDEN_LABEL.head).eval()
    pyramid = [torch.randn(2, 128, 3 * scale, 2 * scale) for scale in (8, 4, 2, 1)]
    with torch.no_grad():
        output = decoder(*pyramid)
    assert output.mask_features.shape == (2, 64, 24, 16)
    assert [tuple(level.shape) for level in output.levels] == [(2, 64, 3, 2), (2, 64, 6, 4), (2, 64, 12, 8)]


def test_images_of_a_batch_do_not_see_each_other():
    torch.manual_seed(0)
    decoder = PixelDecoder(GOLDEN_LABEL.head).eval()
    pyramid = [torch.randn(2, 128, 2 * scale, 2 * scale) for scale in (8, 4, 2, 1)]
    with torch.no_grad():
        both = decoder(*pyramid)
        second = decoder(*(level[1:] for level in pyramid))
    torch.testing.assert_close(both.mask_features[1:], second.mask_features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both.levels[2][1:], second.levels[2], rtol=1e-4, atol=1e-5)
