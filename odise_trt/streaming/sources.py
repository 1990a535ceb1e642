"""What a stream is given: many pictures, not one."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any

from PIL import Image

from ..errors import ArgumentError

_ONE = "give a list: segmenter.stream([image]), or segmenter(image) for one picture"
_FOLDER = "give a list; odise_trt.batch.find_images lists the pictures of a folder"


def sources_of(images: Any) -> Iterator[Any]:
    """Return an iterator over many pictures.

    Raises:
        ArgumentError: this is a single picture, or nothing to iterate over.
    """
    if isinstance(images, str | os.PathLike):
        raise ArgumentError(f"a stream takes many pictures, not one path: {os.fsdecode(images)!r}", _FOLDER)
    if isinstance(images, bytes | bytearray | memoryview | Image.Image | io.IOBase):
        raise ArgumentError(f"a stream takes many pictures, not one {type(images).__name__}", _ONE)
    # The rows of a picture would be taken for gray pictures.
    if hasattr(images, "dtype") and getattr(images, "ndim", None) in (2, 3):
        raise ArgumentError(f"a stream takes many pictures, not one array {tuple(images.shape)}", _ONE)
    try:
        return iter(images)
    except TypeError:
        raise ArgumentError(f"a stream takes many pictures, not {type(images).__name__}", _ONE) from None
