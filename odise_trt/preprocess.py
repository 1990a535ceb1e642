"""From a picture to what the engines take: read, resize, pad.

It uses numpy and Pillow only. The order and the arithmetic are those of the official evaluation: resize uint8
pixels with Pillow, then scale to [0, 1], then pad with zeros at the bottom and right.
"""

from __future__ import annotations

import io
import os
from typing import BinaryIO, cast

import numpy as np
from PIL import ExifTags, Image

from .errors import ImageError
from .interpolate import resize_bilinear
from .pictures import tiff
from .pictures.array_like import CudaArray, DLPackArray, InterfaceArray, pixels_of
from .pictures.image_file import WHITE_IS_ZERO, check_size, content_of, open_content, reading
from .pictures.source import array_of, name_of, name_of_path, not_a_picture

_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
# EXIF's orientation -> the transposition that undoes it.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

ImageSource = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | BinaryIO
    | Image.Image
    | np.ndarray
    | DLPackArray
    | InterfaceArray
    | CudaArray
)


def load_image(source: ImageSource) -> np.ndarray:
    """Read an image as RGB.

    The EXIF orientation is applied. Grayscale, palette and CMYK images become RGB. Transparency is dropped,
    not blended, as in the official evaluation. 16-bit grayscale is scaled to 8 bits. Of an animation, the
    first frame is used. Other metadata is ignored, even if it is damaged.

    Args:
        source: a path; a file opened for reading bytes (or a `BytesIO`), which is read from its start; the
            bytes of an image file; a Pillow image; or a uint8 array (H, W, 3) in RGB order or (H, W) in gray,
            also one of torch or another library that shares its memory on the CPU. Arrays are not copied.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ImageError: the source is not an image, is truncated, has no pixels or more than `MAX_PIXELS`, is an
            array of another shape or dtype, or is of another kind. The message says what it is and what to
            do.
    """
    if isinstance(source, np.ndarray):
        return array_of(source)
    if isinstance(source, Image.Image):
        with reading("the image"):
            _load(source)
            return _pixels(source, "the image")
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(bytes(source), "the image")
    if isinstance(source, str | os.PathLike):
        name = name_of_path(source)
        return _decode(content_of(source, name), name)
    pixels = pixels_of(source)
    if pixels is not None:
        return pixels
    if isinstance(source, io.TextIOBase) or not callable(getattr(source, "read", None)):
        raise not_a_picture(source)
    file = cast(BinaryIO, source)
    return _decode(content_of(file, name_of(file)), name_of(file))


def resize_shortest(image: np.ndarray, short_side: int, max_side: int) -> np.ndarray:
    """Resize so that the shorter side is `short_side`, or less if the longer side would exceed `max_side`.

    Args:
        image: uint8 (H, W, 3).

    Returns:
        uint8 (H', W', 3), by Pillow's bilinear filter (which averages when shrinking). Small images are
        enlarged with the same filter.
    """
    height, width = shortest_size(image.shape[0], image.shape[1], short_side, max_side)
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def shortest_size(height: int, width: int, short_side: int, max_side: int) -> tuple[int, int]:
    """Return the size of the result of `resize_shortest`: detectron2's rounding, and at least one pixel.

    `reference.inference.evaluation_size` computes the same and is the oracle of this function.
    """
    scale = short_side / min(height, width)
    new_height, new_width = (short_side, scale * width) if height < width else (scale * height, short_side)
    if max(new_height, new_width) > max_side:
        shrink = max_side / max(new_height, new_width)
        new_height, new_width = new_height * shrink, new_width * shrink
    return max(1, int(new_height + 0.5)), max(1, int(new_width + 0.5))


def to_planes(image: np.ndarray) -> np.ndarray:
    """Convert uint8 (H, W, 3) to float32 (3, H, W) in [0, 1]."""
    return np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)


def pad(planes: np.ndarray, divisor: int) -> np.ndarray:
    """Zero-pad (C, H, W) at the bottom and right to multiples of `divisor`."""
    _, height, width = planes.shape
    return np.pad(planes, ((0, 0), (0, -height % divisor), (0, -width % divisor)))


def clip_image(planes: np.ndarray, side: int) -> np.ndarray:
    """Resize the whole picture to the input size of CLIP.

    The padding is not included, although the masks that are pooled over the picture include it. The official
    model does the same, and its weights were tuned to that.

    Args:
        planes: float32 (3, H, W) in [0, 1], resized but not padded.
        side: CLIP's image size.

    Returns:
        float32 (1, 3, side, side), bilinear without antialiasing.
    """
    return np.ascontiguousarray(resize_bilinear(planes, side, side)[None])


def _load(image: Image.Image) -> None:
    """Decode a given Pillow image, only once: after a failure, a second attempt gives black pixels."""
    check_size(image, "the image")
    try:
        image.load()
    # "Operation on closed image", "seek of closed file", or an assertion if only the file was closed.
    except (ValueError, AssertionError, AttributeError) as error:
        if isinstance(error, ValueError) and "closed" not in str(error):
            raise
        raise ImageError(
            "the Pillow image was closed before its pixels were read",
            "use it inside its with block, call image.load() there, or give the path",
        ) from error


def _decode(data: bytes, name: str) -> np.ndarray:
    with open_content(data, name) as image:
        image.load()
        return _pixels(image, name)


def _pixels(image: Image.Image, name: str) -> np.ndarray:
    upright = _UPRIGHT.get(_orientation(image))
    rgb = _rgb(image, name)
    return np.array(rgb if upright is None else rgb.transpose(upright))


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
        # No other program rotates the picture for a text such as "6".
        return value if isinstance(value, int) else 1
    except Exception:  # damaged EXIF can raise nearly any error, and the pixels may still be good
        return 1


def _rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "RGB":
        return image  # `convert` would copy it
    if image.mode == "F":
        raise ImageError(f"{name} has floating-point pixels", "save it with 8 or 16 bits per channel")
    if image.mode in _DEEP:
        image = _to_eight_bits(image, name)
    elif image.mode == "La":
        image = image.convert("LA")
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise ImageError(
            f"{name} has pixels of mode {image.mode}, which Pillow does not convert to RGB", "save it as RGB"
        ) from error


def _to_eight_bits(image: Image.Image, name: str) -> Image.Image:
    # Pillow's own conversion would clip. Everything brighter than 1/256 of the range would become white.
    values = np.asarray(image).astype(np.int64)
    tags = getattr(image, "tag_v2", {})
    most = 4095 if tags.get(tiff.BITS_PER_SAMPLE) == (12,) else 65535
    if values.min() < 0 or values.max() > most:
        raise ImageError(
            f"{name} has pixels from {values.min()} to {values.max()}, beyond 0..{most}",
            "save it with 8 or 16 bits per channel",
        )
    if image.info.get(WHITE_IS_ZERO) or tags.get(tiff.PHOTOMETRIC) == tiff.WHITE_IS_ZERO:
        values = most - values
    return Image.fromarray(((values * 255 + most // 2) // most).astype(np.uint8))
