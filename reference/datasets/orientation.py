"""The EXIF orientation of a picture.

The runtime, training and evaluation apply it. Truth must therefore be for the picture as it is shown.
"""

from __future__ import annotations

from pathlib import Path

from odise_trt.errors import ImageError
from odise_trt.pictures.image_file import open_picture

_ORIENTATION = 0x0112


def orientation_of(path: Path) -> int:
    """Return the EXIF orientation of a picture: 1 as stored, 2 to 8 mirrored or turned.

    The result is 1 if the picture cannot be read or its EXIF is invalid.
    """
    try:
        with open_picture(path, str(path)) as image:
            orientation = image.getexif().get(_ORIENTATION, 1)
    except ImageError:
        return 1
    return orientation if orientation in range(1, 9) else 1


def swaps_sides(orientation: int) -> bool:
    """Whether the picture is shown with width and height exchanged."""
    return orientation >= 5
