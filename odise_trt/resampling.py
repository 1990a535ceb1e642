"""Pillow's bilinear filter in whole numbers: what the stage `resize` needs to give Pillow's pixels.

Pillow resizes uint8 pixels in two passes with weights of 22 bits, and rounds after each (`Resample.c`). When
it shrinks, the filter grows with the scale, so it averages. Which pass comes first depends on its version and
on the sizes, and makes a difference of one in some pixels. So Pillow is asked.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image

from .errors import ImageError

#: Height and width.
Size = tuple[int, ...]
#: A pass along the rows, and one along the columns.
Pass = Literal["across", "down"]

#: Bits of Pillow's weights, and of the lower part of ours.
PRECISION, LOW = 22, 11
#: The most taps with which all sums of the stage stay below 2**24, so float32 holds them exactly.
MOST_TAPS = 32
#: Rows of pixels, or pixels of the result along the columns, that one run of the stage takes.
BLOCK = 256
#: The longest side of a picture that the stage takes.
LONGEST = 8192
#: Pixels that Pillow is asked about. Where the order matters, it changes some of each hundred.
_ASKED = 2000


def bilinear_taps(size: int, out: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which pixels each pixel of the result is made of, and their weights.

    Args:
        size: pixels of the source along the axis.
        out: pixels of the result.

    Returns:
        index int64 (out, taps), and weight int64 (out, taps), whose rows add up to 2**22 but for rounding.
        Where there are fewer taps, the last pixel is repeated with weight 0.
    """
    scale = size / out
    support = max(scale, 1.0)
    center = (np.arange(out) + 0.5) * scale
    first = np.maximum((center - support + 0.5).astype(np.int64), 0)
    stop = np.minimum((center + support + 0.5).astype(np.int64), size)
    steps = np.arange(int((stop - first).max()))
    distance = np.abs((steps + first[:, None] - center[:, None] + 0.5) * (1.0 / support))
    share = np.where(steps < (stop - first)[:, None], np.maximum(1.0 - distance, 0.0), 0.0)
    # One after the other, as Pillow adds them.
    share /= np.add.accumulate(share, axis=1)[:, -1:]
    weight = (share * 2**PRECISION + 0.5).astype(np.int64)
    return np.minimum(first[:, None] + steps, size - 1), weight


def resize_tensors(size: int, out: int) -> dict[str, np.ndarray]:
    """Return the vectors that one pass of the stage `resize` takes.

    Returns:
        index  int64 (out, taps)
        high   float32 (out, taps), the weight without its lowest 11 bits, divided by 2**11
        low    float32 (out, taps), its lowest 11 bits
    """
    index, weight = bilinear_taps(size, out)
    return {
        "index": index,
        "high": (weight >> LOW).astype(np.float32),
        "low": (weight & (2**LOW - 1)).astype(np.float32),
    }


@lru_cache(maxsize=64)
def passes(source: Size, target: Size) -> tuple[Pass, ...]:
    """Return the passes of a resize in the order of the Pillow that is installed.

    It resizes one picture of this size, and compares some pixels.

    Args:
        source, target: height and width.

    Raises:
        ImageError: this Pillow resizes in another way.
    """
    needed: list[Pass] = ["across"] if source[1] != target[1] else []
    if source[0] != target[0]:
        needed.append("down")
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (*source, 3), dtype=np.uint8)
    found = np.asarray(Image.fromarray(pixels).resize((target[1], target[0]), Image.Resampling.BILINEAR))
    rows, columns = (random.integers(0, side, _ASKED) for side in target)
    for order in (tuple(needed), tuple(needed[::-1])):
        if (_some(pixels, target, rows, columns, order) == found[rows, columns]).all():
            return order
    raise ImageError(
        "this version of Pillow resizes in another way than the bundle's stage resize",
        "copy the picture to the host: .cpu() in torch, .get() in CuPy",
    )


def _some(
    pixels: np.ndarray, target: Size, rows: np.ndarray, columns: np.ndarray, order: tuple[Pass, ...]
) -> np.ndarray:
    """Return some pixels of the result, uint8 (N, 3)."""
    row_index, row_weight = (one[rows] for one in bilinear_taps(pixels.shape[0], target[0]))
    column_index, column_weight = (one[columns] for one in bilinear_taps(pixels.shape[1], target[1]))
    # (N, row taps, column taps, 3)
    part = pixels[row_index[:, :, None], column_index[:, None, :]].astype(np.int64)
    if order and order[0] == "down":
        down = _rounded((part * row_weight[:, :, None, None]).sum(1))
        return _rounded((down * column_weight[:, :, None]).sum(1)).astype(np.uint8)
    across = _rounded((part * column_weight[:, None, :, None]).sum(2))
    return _rounded((across * row_weight[:, :, None]).sum(1)).astype(np.uint8)


def _rounded(total: np.ndarray) -> np.ndarray:
    return (total + 2 ** (PRECISION - 1)) >> PRECISION
