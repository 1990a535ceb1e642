"""Windows over an image, and their features joined."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.checkpoint import load_weights
from reference.model import windows
from reference.model.windows import extract_windows, image_features, stitch, window_origins
from reference.oracle import official_pass
from reference.preset import DEMO
from tests.golden_case import relative_l2
from tests.reference.golden_models import golden_case, golden_model

LEVELS = ("s2", "s3", "s4", "s5")


# Part of the comparisons of whole cases, for whoever looks for a fault.
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["label", "caption"])
@torch.no_grad()
def test_features_of_an_image_smaller_than_a_window_are_the_official_ones(kind):
    # 300 x 420 pads to 320 x 448: two windows of 320 that overlap by 192.
    case = golden_case(kind, "small")
    pyramid = image_features(golden_model(kind).backbone, case.padded_image)
    for name, level in zip(LEVELS, pyramid, strict=True):
        case.check(f"backbone.{name}", level)


@pytest.mark.slow
@pytest.mark.parametrize("way", [windows, official_pass])
@torch.no_grad()
def test_features_of_four_overlapping_windows_are_the_official_ones(way):
    case = golden_case("label", "nonsquare")
    pyramid = way.image_features(golden_model("label").backbone, case.padded_image)
    for name, level in zip(LEVELS, pyramid, strict=True):
        case.check(f"backbone.{name}", level)


@pytest.mark.parametrize(("height", "width"), [(256, 320), (128, 192)])
@torch.no_grad()
def test_the_wasteful_and_the_pruned_way_agree(height, width):
    backbone = load_weights(DEMO, "random:5").backbone
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    expected = official_pass.image_features(backbone, image)
    for level, other in zip(image_features(backbone, image), expected, strict=True):
        assert relative_l2(level, other) < 1e-5


def test_windows_lie_as_in_the_official_model():
    corners = {0, 512}
    assert set(window_origins(1024, 1024, 512)) == {(y, x) for y in corners for x in corners}
    assert window_origins(640, 832, 512) == [(0, 0), (0, 320), (128, 0), (128, 320)]
    assert len(window_origins(1024, 1408, 512)) == 6
    assert len(window_origins(1024, 2560, 512)) == 10
    assert window_origins(320, 448, 320) == [(0, 0), (0, 128)]
    assert window_origins(512, 512, 512) == [(0, 0)]


def test_windows_are_cut_row_by_row_and_image_by_image():
    image = torch.arange(2 * 3 * 128 * 192.0).view(2, 3, 128, 192)
    windows, origins = extract_windows(image, 512)
    assert origins == [(0, 0), (0, 64)]
    assert windows.shape == (4, 3, 128, 128)
    assert torch.equal(windows[1], image[0, :, :, 64:])
    assert torch.equal(windows[2], image[1, :, :, :128])


def test_overlaps_are_the_mean_of_the_windows():
    # Two windows of 128 over 128 x 192 at stride 32: columns 0-3 and 2-5, 4 rows.
    windows = torch.stack([torch.full((1, 4, 4), 1.0), torch.full((1, 4, 4), 4.0)])
    joined = stitch(windows, [(0, 0), (0, 64)], 32, 128, 192)
    assert joined.shape == (1, 1, 4, 6)
    assert joined[0, 0, 3].tolist() == [1.0, 1.0, 2.5, 2.5, 4.0, 4.0]


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 2),
    height=st.integers(1, 8),
    width=st.integers(1, 8),
    largest=st.integers(1, 4),
    stride=st.sampled_from([4, 8, 16, 32]),
)
def test_cutting_and_joining_gives_the_image_back(batch, height, width, largest, stride):
    generator = torch.Generator().manual_seed(height * 10 + width)
    # Pixels constant over a cell of the stride, so that the map of a window is its thinned-out pixels.
    cells = torch.rand(batch, 1, height * 64 // stride, width * 64 // stride, generator=generator)
    image = cells.repeat_interleave(stride, 2).repeat_interleave(stride, 3)
    windows, origins = extract_windows(image, largest * 64)
    maps = windows[..., ::stride, ::stride]
    joined = stitch(maps, origins, stride, height * 64, width * 64)
    torch.testing.assert_close(joined, cells)
