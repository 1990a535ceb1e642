"""Windows cover the image, and stitching undoes cutting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odise_trt.windows import Grid, Stitcher

SIDES = st.integers(1, 14).map(lambda n: 64 * n)
WINDOWS = st.sampled_from([64, 128, 256, 512])


@pytest.mark.parametrize(
    ("size", "windows"),
    [((1024, 1024), 4), ((640, 832), 4), ((1024, 1408), 6), ((1024, 2560), 10), ((320, 448), 2)],
)
def test_the_official_sizes_give_the_official_numbers_of_windows(size, windows) -> None:
    assert len(Grid.over(*size, 512)) == windows


def test_windows_run_row_by_row_and_the_last_is_shifted_back_to_the_border() -> None:
    grid = Grid.over(640, 832, 512)

    assert grid.corners == [(0, 0), (0, 320), (128, 0), (128, 320)]


def test_a_window_is_never_larger_than_the_shorter_side() -> None:
    assert Grid.over(320, 448, 512).side == 320


@given(SIDES, SIDES, WINDOWS)
def test_every_pixel_is_in_a_window_and_every_window_in_the_image(height, width, window) -> None:
    grid = Grid.over(height, width, window)
    covered = np.zeros((height, width), bool)
    for top, left in grid.corners:
        assert top + grid.side <= height
        assert left + grid.side <= width
        covered[top : top + grid.side, left : left + grid.side] = True

    assert covered.all()


@given(SIDES, SIDES, WINDOWS, st.sampled_from([4, 8, 16, 32]), st.integers(1, 5))
def test_stitching_windows_cut_from_a_map_gives_the_map_back(height, width, window, stride, batch) -> None:
    # Whole numbers, so that averaging equal values is exact.
    whole = np.random.default_rng(0).integers(-99, 99, (2, height // stride, width // stride))
    grid = Grid.over(height, width, window)
    part = grid.side // stride
    maps = [whole[:, y // stride :, x // stride :][:, :part, :part] for y, x in grid.corners]
    stitcher = Stitcher(grid, stride)
    for start in range(0, len(maps), batch):
        stitcher.add(np.stack(maps[start : start + batch]).astype(np.float32))

    np.testing.assert_array_equal(stitcher.result()[0], whole)


def test_overlaps_are_averaged_by_how_many_windows_cover_a_pixel() -> None:
    # Two windows of 128 over 192 pixels share the middle third.
    stitcher = Stitcher(Grid.over(128, 192, 128), 32)
    stitcher.add(np.stack([np.full((1, 4, 4), 1.0), np.full((1, 4, 4), 4.0)]).astype(np.float32))

    np.testing.assert_array_equal(stitcher.result()[0, 0, 0], [1, 1, 2.5, 2.5, 4, 4])


def test_half_precision_maps_stay_half_and_are_summed_in_single() -> None:
    # In float16, 60000 + 60000 would be infinite.
    stitcher = Stitcher(Grid.over(64, 96, 64), 32)
    stitcher.add(np.full((2, 1, 2, 2), 60000, np.float16))
    result = stitcher.result()

    assert result.dtype == np.float16
    np.testing.assert_array_equal(result, np.full((1, 1, 2, 3), 60000, np.float16))


def test_a_map_with_a_window_missing_is_not_given_out() -> None:
    stitcher = Stitcher(Grid.over(64, 128, 64), 4)
    stitcher.add(np.zeros((1, 1, 16, 16), np.float32))

    with pytest.raises(ValueError, match="1 of 2 windows"):
        stitcher.result()


def test_windows_are_cut_where_the_grid_says() -> None:
    image = np.arange(3 * 64 * 128, dtype=np.float32).reshape(3, 64, 128)
    windows = Grid.over(64, 128, 64).cut(image)

    assert windows.shape == (2, 3, 64, 64)
    np.testing.assert_array_equal(windows[1], image[:, :, 64:])
