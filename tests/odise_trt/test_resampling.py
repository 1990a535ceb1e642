"""The integers of Pillow's bilinear filter, against Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from odise_trt.errors import ImageError
from odise_trt.resampling import MOST_TAPS, bilinear_taps, passes, resize_tensors

SIDES = st.integers(1, 300)


def one_pass(pixels: np.ndarray, out: int) -> np.ndarray:
    """(rows, source, values) -> (rows, out, values), in whole numbers, as Pillow computes."""
    index, weight = bilinear_taps(pixels.shape[1], out)
    total = (pixels.astype(np.int64)[:, index] * weight[None, :, :, None]).sum(2)
    return ((total + 2**21) >> 22).astype(np.uint8)


def by_pillow(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def in_passes(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    for one in passes(pixels.shape[:2], (height, width)):
        if one == "across":
            pixels = one_pass(pixels, width)
        else:
            rows = pixels.reshape(1, len(pixels), -1)
            pixels = one_pass(rows, height).reshape(height, -1, 3)
    return pixels


@given(SIDES, SIDES, SIDES, SIDES, st.integers(1, 99))
def test_the_passes_give_pillows_pixels(height: int, width: int, tall: int, wide: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    np.testing.assert_array_equal(in_passes(pixels, tall, wide), by_pillow(pixels, tall, wide))


def test_an_axis_that_keeps_its_size_needs_no_pass() -> None:
    assert passes((40, 60), (40, 60)) == ()
    assert passes((40, 60), (40, 30)) == ("across",)
    assert passes((40, 60), (20, 60)) == ("down",)
    assert sorted(passes((40, 60), (20, 30))) == ["across", "down"]


def test_a_pillow_that_resizes_in_another_way_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda image, size, how: resize(image, size, Image.Resampling.BICUBIC)
    )
    with pytest.raises(ImageError, match="resizes in another way"):
        passes((41, 61), (21, 31))


@pytest.mark.parametrize("value", [0, 1, 128, 254, 255])
@pytest.mark.parametrize(("size", "out"), [(1, 7), (1080, 1024), (4000, 1365), (640, 2560)])
def test_a_plain_picture_stays_as_it_is(value: int, size: int, out: int) -> None:
    pixels = np.full((1, size, 3), value, np.uint8)
    assert (one_pass(pixels, out) == value).all()


@given(st.integers(1, 4000), st.integers(1, 2600))
def test_the_parts_of_the_weights_are_whole_and_their_sums_exact_in_float32(size: int, out: int) -> None:
    tensors = resize_tensors(size, out)
    _, weight = bilinear_taps(size, out)
    high, low = tensors["high"].astype(np.int64), tensors["low"].astype(np.int64)
    np.testing.assert_array_equal(high * 2**11 + low, weight)
    if weight.shape[1] <= MOST_TAPS:
        assert (255 * np.maximum(high.sum(1) + 2**11 + 2**10, low.sum(1))).max() < 2**24
    assert (tensors["index"] >= 0).all()
    assert (tensors["index"] < size).all()


def test_pictures_fifteen_times_too_large_still_fit_the_taps() -> None:
    assert resize_tensors(15 * 512, 512)["index"].shape[1] <= MOST_TAPS
