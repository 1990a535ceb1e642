"""Encodes pictures as the bytes of a file. `odise_trt.files.writing` writes them."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo


def image_bytes(picture: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """Encode a picture.

    Args:
        picture: a Pillow image, or an array: uint8 (H, W) or (H, W, 3), or uint16 (H, W).
        kind: "PNG", "TIFF", "JPEG" or another format of Pillow.
        options: options of `PIL.Image.Image.save`.
    """
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def marked_png(picture: Image.Image, key: str, mark: str) -> bytes:
    """Encode a picture as PNG with a text that says which program made it. `mark_of` reads the text."""
    said = PngInfo()
    said.add_itxt(key, mark)
    return image_bytes(picture, optimize=True, pnginfo=said)


def mark_of(path: str | os.PathLike[str], key: str) -> str | None:
    """Return the text under `key` in a picture. None: there is no such text, or it cannot be read."""
    try:
        with Image.open(path) as picture:
            mark = picture.info.get(key)
    except (OSError, ValueError, SyntaxError):
        return None
    return mark if isinstance(mark, str) else None
