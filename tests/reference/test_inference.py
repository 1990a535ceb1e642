"""Photos reach the model as in the official evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from odise_trt.vocabulary import Vocabulary
from reference.checkpoint import load_weights
from reference.inference import evaluation_size, segment_photo


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (1024, 1365)),  # 1365.33
        ((640, 480), (1365, 1024)),
        ((1024, 1024), (1024, 1024)),
        ((2048, 3000), (1024, 1500)),
        ((427, 640), (1024, 1535)),  # 1534.8
        ((300, 1000), (768, 2560)),  # the longer side would be 3413
        ((1000, 1), (2560, 3)),  # 2.56
        ((1, 10000), (1, 2560)),  # 0.256 would leave nothing
    ],
)
def test_the_shorter_side_becomes_1024_unless_the_longer_would_pass_2560(size, expected):
    assert evaluation_size(*size, short_side=1024, max_side=2560) == expected


@given(st.integers(1, 6000), st.integers(1, 6000))
def test_no_side_is_ever_too_long_or_gone(height, width):
    new_height, new_width = evaluation_size(height, width, 512, 1280)
    assert 1 <= min(new_height, new_width) <= 512
    assert max(new_height, new_width) <= 1280


def test_results_have_the_size_of_the_photo_and_see_the_resized_one():
    model, vocabulary = load_weights("demo", "random:3"), Vocabulary.parse("sky; tree, trees")
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[:, 45:] = (250, 120, 30)
    seen = []
    hook = model.captioner.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    result = segment_photo(model, Image.fromarray(pixels), vocabulary)
    hook.remove()
    assert result.panoptic.map.shape == (60, 90)
    # 60 x 90 becomes 256 x 384: two rows of three windows.
    assert seen[0].shape == (6, 3, 128, 128)
    assert result.semantic.shape == (2, 60, 90)
