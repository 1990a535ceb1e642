"""Small pictures of maps: one byte per pixel, and a palette."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from odise_trt.drawing.palette import Rgb, category_color

#: Index of pixels that are not a number, in every palette.
NOT_FINITE = 255
#: The longer side of a picture, in pixels.
SIDE = 128

_MAGENTA: Rgb = (255, 0, 200)
#: Dark to light, as evenly as an eye sees it.
_RISING = ((13, 16, 60), (63, 38, 128), (160, 50, 122), (233, 100, 75), (251, 180, 60), (252, 253, 191))
#: Below zero blue, above zero red: zero is where a mask begins.
_SIGNED = ((24, 60, 140), (110, 160, 210), (247, 247, 245), (226, 130, 95), (140, 20, 40))
_IDS = 254
#: 0: equal, 1: differs, 2: differs where rounding decides.
SAME_OR_NOT = bytes((236, 239, 243, 200, 30, 40, 240, 170, 40))


def ramp(colors: Sequence[Rgb]) -> bytes:
    """Return a palette that runs evenly through `colors`, and marks what is not finite."""
    places = np.linspace(0, len(colors) - 1, NOT_FINITE)
    channels = np.transpose(np.array(colors, np.float64))
    table = np.stack([np.interp(places, np.arange(len(colors)), channel) for channel in channels], axis=1)
    return np.round(table).astype(np.uint8).tobytes() + bytes(_MAGENTA)


RISING, SIGNED = ramp(_RISING), ramp(_SIGNED)


def of_ids(ids: Sequence[int]) -> bytes:
    """Return a palette with a colour for every id. Of more than 254 ids, some share one."""
    table = [category_color(number, isthing=True) for number in ids[:_IDS]]
    return b"".join(bytes(color) for color in table)


def indexed(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values as indices of a palette: `low` is 0, `high` is 254, others are the nearer of these."""
    finite = np.isfinite(values)
    span = high - low if high > low else 1.0
    share = np.clip((np.where(finite, values, 0) - low) / span, 0, 1)
    return np.where(finite, np.round(share * (NOT_FINITE - 1)), NOT_FINITE).astype(np.uint8)


def index_of(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return ids as indices of the palette `of_ids(known)`. `known` is sorted."""
    return (np.searchsorted(known, ids) % _IDS).astype(np.uint8)


def sampled(values: np.ndarray) -> np.ndarray:
    """Return a map (H, W) of at most `SIDE` pixels a side: every n-th pixel."""
    step = _step(values)
    return values[::step, ::step]


def largest(values: np.ndarray) -> np.ndarray:
    """Return a map (H, W) of at most `SIDE` pixels a side: the largest of each block, none is lost."""
    step = _step(values)
    height, width = (-(-side // step) for side in values.shape)
    more = (height * step - values.shape[0], width * step - values.shape[1])
    padded = np.pad(values, ((0, more[0]), (0, more[1])), "edge")
    blocks: np.ndarray = padded.reshape(height, step, width, step).max(axis=(1, 3))
    return blocks


def _step(values: np.ndarray) -> int:
    return max(1, -(-max(values.shape) // SIDE))


def png(index: np.ndarray, palette: bytes) -> bytes:
    """Return a PNG of palette indices, uint8 (H, W)."""
    picture = Image.fromarray(np.ascontiguousarray(index))
    picture.putpalette(palette)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def photo(image: np.ndarray) -> bytes:
    """Return a PNG of a photo, uint8 (H, W, 3), in 256 colours."""
    file = io.BytesIO()
    Image.fromarray(image).quantize(256).save(file, "PNG", optimize=True)
    return file.getvalue()
