"""Picture sources other than files, and the errors for values that are no pictures."""

from __future__ import annotations

import io
import os
import re
from urllib.parse import unquote

import numpy as np

from ..errors import ImageError
from .image_file import MAX_PIXELS

ACCEPTED = (
    "give a path, an open binary file, the bytes of an image file, a Pillow image,"
    " or a uint8 array (H, W, 3) in RGB"
)


def array_of(array: np.ndarray) -> np.ndarray:
    """Convert an array of pixels to a contiguous uint8 array (H, W, 3).

    Raises:
        ImageError: the array has another dtype or shape, no pixels, or more than `MAX_PIXELS`.
    """
    # Subclasses are not kept: a numpy.matrix with one more axis damages memory.
    array = np.asarray(array)
    if 0 in array.shape:
        raise ImageError(f"the image has no pixels: its shape is {array.shape}")
    if array.dtype != np.uint8:
        raise ImageError(f"an image array must be uint8, this one is {array.dtype}", _dtype_hint(array))
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3:
        raise ImageError(
            f"an image array must have shape (H, W, 3) or (H, W), this one has {array.shape}",
            _shape_hint(array.shape),
        )
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise ImageError(
            f"the image is too large: {array.shape[1]} x {array.shape[0]} pixels, the limit is {MAX_PIXELS}"
            " pixels",
            "shrink it first",
        )
    return np.ascontiguousarray(array)


def not_a_picture(source: object) -> ImageError:
    """Return the error for a source that is not a picture. For common mistakes it has a hint."""
    kind = type(source)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    if source is None:
        hint = f"cv2.imread, for one, gives None for a file it cannot read; {ACCEPTED}"
        return ImageError("there is no image: it is None", hint)
    if isinstance(source, io.TextIOBase):
        return ImageError(f"{name_of(source)} was opened as text", 'open it with open(path, "rb")')
    if isinstance(source, list | tuple):
        hint = f"one image at a time: [segmenter(one) for one in images]; {ACCEPTED}"
        return ImageError(f"an image cannot be of type {name}", hint)
    if hasattr(source, "__array__"):
        return ImageError(f"an image cannot be of type {name}", "make it an array: numpy.asarray(image)")
    return ImageError(f"an image cannot be of type {name}", ACCEPTED)


def name_of_path(path: str | os.PathLike[str]) -> str:
    """Return a path as text for messages.

    Raises:
        ImageError: the path is empty, or is a URL.
    """
    name = os.fsdecode(path)
    if not name:
        raise ImageError("the path of the image is empty", ACCEPTED)
    if re.match(r"data:|[A-Za-z][A-Za-z0-9+.-]*://", name) and not os.path.exists(name):
        path = re.sub(r"^file://(localhost)?(?=/)", "", name)
        hint = (
            "download it first, or give its bytes"
            if path == name
            else f"give the path: {unquote(path)[:200]}"
        )
        raise ImageError(f"{name[:200]} is an address, not a file", hint)
    return name


def name_of(file: object) -> str:
    """Return the name of an open file for messages."""
    name = getattr(file, "name", None)
    return os.fsdecode(name) if isinstance(name, str | bytes) and name else "the image"


def _dtype_hint(array: np.ndarray) -> str:
    kind = array.dtype.kind
    if kind == "b":
        return "for a mask: array.astype(numpy.uint8) * 255"
    if kind == "f":
        # If the array has NaN, max() is NaN and the comparison is false.
        if array.max() > 1:
            return "for values in [0, 255]: array.round().astype(numpy.uint8)"
        return "for values in [0, 1]: (array * 255).round().astype(numpy.uint8)"
    if kind == "u" and array.dtype.itemsize == 2:
        return "for 16 bits: (array / 257).round().astype(numpy.uint8)"
    if kind in "iu":
        return "for values in [0, 255]: array.astype(numpy.uint8)"
    return f"an array of numbers is needed; {ACCEPTED}"


def _shape_hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 4 and shape[0] == 1:
        return "take the one image out: array[0]"
    if len(shape) == 4:
        return "one image at a time: [segmenter(one) for one in array]"
    if len(shape) == 3 and shape[2] == 4:
        return "drop the transparency: array[:, :, :3]"
    if len(shape) == 3 and shape[2] == 1:
        return "drop the last axis: array[:, :, 0]"
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return "transpose it: array.transpose(1, 2, 0)"
    return "gray (H, W), or RGB (H, W, 3)"
