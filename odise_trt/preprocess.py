"""From a picture to what the engines take: read, resize, pad.

numpy and Pillow only. The order and the arithmetic are the official evaluation's: resize uint8 pixels with
Pillow, then scale to [0, 1], then pad with zeros at the bottom and right.
"""

from __future__ import annotations

import io
import os

import numpy as np
from PIL import Image, ImageOps

from .errors import ImageError
from .image_file import MAX_PIXELS, open_picture, reading
from .interpolate import resize_bilinear

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")

ImageSource = str | os.PathLike[str] | bytes | Image.Image | np.ndarray


def load_image(source: ImageSource) -> np.ndarray:
    """Read an image as RGB.

    The EXIF orientation is applied. Grayscale, palette and CMYK images become RGB; transparency is dropped,
    not blended (so did the reader the official model was evaluated with); 16-bit grayscale is scaled to
    8 bits; of an animation the first frame is taken.

    Args:
        source: a path, the bytes of an image file, a Pillow image, or a uint8 array (H, W, 3) in RGB
            order or (H, W) in gray.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ImageError: not an image, truncated, without pixels, larger than `MAX_PIXELS`, or an array of
            another shape or dtype.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _to_rgb(source, "the image")
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(bytes(source), "the image")
    try:
        with open(source, "rb") as file:
            data = file.read()
    except OSError as error:
        raise ImageError(f"{os.fspath(source)} cannot be read: {error.strerror}") from error
    return _decode(data, os.fspath(source))


def resize_shortest(image: np.ndarray, short_side: int, max_side: int) -> np.ndarray:
    """Resize so that the shorter side is `short_side`, or less where the longer would pass `max_side`.

    Args:
        image: uint8 (H, W, 3).

    Returns:
        uint8 (H', W', 3), by Pillow's bilinear filter (which averages when shrinking); small images are
        enlarged the same way.
    """
    height, width = shortest_size(image.shape[0], image.shape[1], short_side, max_side)
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def shortest_size(height: int, width: int, short_side: int, max_side: int) -> tuple[int, int]:
    """The size `resize_shortest` gives an image: detectron2's rounding, and never less than one pixel."""
    scale = short_side / min(height, width)
    new_height, new_width = (short_side, scale * width) if height < width else (scale * height, short_side)
    if max(new_height, new_width) > max_side:
        shrink = max_side / max(new_height, new_width)
        new_height, new_width = new_height * shrink, new_width * shrink
    return max(1, int(new_height + 0.5)), max(1, int(new_width + 0.5))


def to_planes(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) to float32 (3, H, W) in [0, 1]."""
    return np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)


def pad(planes: np.ndarray, divisor: int) -> np.ndarray:
    """Zero-pad (C, H, W) at the bottom and right to multiples of `divisor`."""
    _, height, width = planes.shape
    return np.pad(planes, ((0, 0), (0, -height % divisor), (0, -width % divisor)))


def clip_image(planes: np.ndarray, side: int) -> np.ndarray:
    """The whole picture as CLIP sees it.

    The padding is not in it, although it is in the masks that are pooled over it: the official model does
    so, and its weights were tuned to that.

    Args:
        planes: float32 (3, H, W) in [0, 1], resized but not padded.
        side: CLIP's image size.

    Returns:
        float32 (1, 3, side, side), bilinear without antialiasing.
    """
    return np.ascontiguousarray(resize_bilinear(planes, side, side)[None])


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8:
        raise ImageError(
            f"an image array must be uint8, this one is {array.dtype}",
            "for values in [0, 1]: (array * 255).round().astype(numpy.uint8)",
        )
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3:
        planar = array.ndim == 3 and array.shape[0] == 3
        raise ImageError(
            f"an image array must have shape (H, W, 3) or (H, W), this one has {array.shape}",
            "transpose it: array.transpose(1, 2, 0)" if planar else None,
        )
    if 0 in array.shape:
        raise ImageError(f"the image has no pixels: its shape is {array.shape}")
    return np.ascontiguousarray(array)


def _decode(data: bytes, name: str) -> np.ndarray:
    if not data:
        raise ImageError(f"{name} is empty")
    with open_picture(io.BytesIO(data), name) as image:
        return _to_rgb(image, name)


def _to_rgb(image: Image.Image, name: str) -> np.ndarray:
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(
            f"{name} is too large: {image.width} x {image.height} pixels, the limit is {MAX_PIXELS} pixels",
            "shrink it first",
        )
    if 0 in image.size:
        raise ImageError(f"{name} has no pixels: it is {image.width} x {image.height}")
    with reading(name):
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode in _SIXTEEN_BIT:
            image = _to_eight_bits(image, name)
        elif image.mode == "F":
            raise ImageError(f"{name} has floating-point pixels", "save it with 8 or 16 bits per channel")
        return np.array(image.convert("RGB"))


def _to_eight_bits(image: Image.Image, name: str) -> Image.Image:
    # Pillow's own conversion would clip: everything brighter than 1/256 of the range would be white.
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(
            f"{name} has 32-bit pixels outside 0..65535", "save it with 8 or 16 bits per channel"
        )
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
