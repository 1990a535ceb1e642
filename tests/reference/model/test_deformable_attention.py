"""Both lowerings of deformable attention sample what the definition says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.model.deformable_attention import DeformableAttention, sample_gather, sample_grid

LOWERINGS = pytest.mark.parametrize("sample", [sample_gather, sample_grid])


def _random(height: int, width: int, seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    value = torch.randn(2, height * width, 3, 4, generator=generator, dtype=torch.float64)
    # From one map's size outside on one side to as far on the other, so a good part lies outside.
    places = torch.rand(2, 2, 5, 3, 4, generator=generator, dtype=torch.float64) * 3 - 1
    weights = torch.rand(2, 5, 3, 4, generator=generator, dtype=torch.float64)
    return value, places[0], places[1], weights


def _by_hand(value: np.ndarray, size: tuple[int, int], x: float, y: float) -> np.ndarray:
    """Bilinear interpolation of one map (h*w, d) at one place, zero outside."""
    height, width = size
    px, py = x * width - 0.5, y * height - 0.5
    total = np.zeros(value.shape[-1])
    for row in (math.floor(py), math.floor(py) + 1):
        for column in (math.floor(px), math.floor(px) + 1):
            if 0 <= row < height and 0 <= column < width:
                share = (1 - abs(px - column)) * (1 - abs(py - row))
                total += share * value[row * width + column]
    return total


@LOWERINGS
def test_every_head_sums_its_own_bilinear_samples(sample):
    size = (3, 5)
    value, x, y, weights = _random(*size, seed=0)
    result = sample(value, size, x, y, weights).numpy()
    for batch, query, head in np.ndindex(2, 5, 3):
        expected = sum(
            weights[batch, query, head, point].item()
            * _by_hand(
                value[batch, :, head].numpy(),
                size,
                x[batch, query, head, point].item(),
                y[batch, query, head, point].item(),
            )
            for point in range(4)
        )
        np.testing.assert_allclose(result[batch, query, head], expected, rtol=1e-10, atol=1e-12)


@LOWERINGS
@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (0.25, 0.25, 1.0),  # centre of the first pixel
        (0.5, 0.5, 2.5),  # where four pixels meet
        (0.0, 0.25, 0.5),  # the outer edge: half of it is outside
        (0.0, 0.0, 0.25),  # a corner
        (1.0, 1.0, 1.0),
        (-0.25, 0.25, 0.0),  # one pixel outside
        (1e12, -1e12, 0.0),  # no integer holds this
    ],
)
def test_borders_and_the_outside_of_a_two_by_two_map(sample, x, y, expected):
    value = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64).view(1, 4, 1, 1)
    place = [torch.full((1, 1, 1, 1), at, dtype=torch.float64) for at in (x, y)]
    result = sample(value, (2, 2), *place, torch.ones(1, 1, 1, 1, dtype=torch.float64))
    assert result.item() == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**6))
def test_gather_equals_grid_sample_at_any_size(height, width, seed):
    arguments = _random(height, width, seed)
    value, x, y, weights = arguments
    ours = sample_gather(value, (height, width), x, y, weights)
    torch.testing.assert_close(
        ours, sample_grid(value, (height, width), x, y, weights), rtol=1e-9, atol=1e-11
    )


def test_gather_equals_grid_sample_in_half_precision_with_float32_positions():
    value, x, y, weights = (part.float() for part in _random(40, 60, seed=3))
    exact = sample_grid(value.double(), (40, 60), x.double(), y.double(), weights.double())
    half = sample_gather(value.half(), (40, 60), x, y, weights)
    assert half.dtype == torch.float16
    assert (half.double() - exact).norm() / exact.norm() < 1e-3


def test_a_module_gives_the_same_with_either_lowering_over_three_levels():
    torch.manual_seed(0)
    module = DeformableAttention(32, num_heads=4).double()
    torch.nn.init.normal_(module.sampling_offsets.weight, std=0.5)
    sizes = [(2, 3), (4, 6), (8, 12)]
    memory = torch.randn(2, 6 + 24 + 96, 32, dtype=torch.float64)
    points = torch.rand(126, 2, dtype=torch.float64)
    module.lowering = "grid_sample"
    expected = module(memory, points, memory, sizes)
    module.lowering = "gather"
    torch.testing.assert_close(module(memory, points, memory, sizes), expected, rtol=1e-9, atol=1e-11)


def test_offsets_are_counted_in_pixels_of_the_level():
    module = DeformableAttention(2, num_heads=1, num_levels=1, num_points=1)
    with torch.no_grad():
        for part in (module.value_proj, module.output_proj):
            part.weight.copy_(torch.eye(2))
            part.bias.zero_()
        module.sampling_offsets.weight.zero_()
        module.sampling_offsets.bias.copy_(torch.tensor([2.0, 1.0]))  # two to the right, one down
    memory = torch.arange(20.0).view(1, 20, 1).expand(1, 20, 2)  # a 4 x 5 map that counts its pixels
    centre_of_the_first = torch.tensor([[0.5 / 5, 0.5 / 4]])
    result = module(torch.zeros(1, 1, 2), centre_of_the_first, memory, [(4, 5)])
    assert result.flatten().tolist() == pytest.approx([7.0, 7.0])
