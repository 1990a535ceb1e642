"""Pictures as the bytes of a file, to be written by `odise_trt.files.writing`."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image


def image_bytes(picture: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """Encode a picture.

    Args:
        picture: a Pillow image, or an array: uint8 (H, W) or (H, W, 3), or uint16 (H, W).
        kind: "PNG", "TIFF", "JPEG" or another format of Pillow.
        options: of `PIL.Image.Image.save`.
    """
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()
