"""How EXIF turns a picture when it is shown.

Truth is for the picture as it is shown, in training and evaluation alike: so the runtime sees it.
"""

from __future__ import annotations

from pathlib import Path

from odise_trt.errors import ImageError
from odise_trt.pictures.image_file import open_picture

_ORIENTATION = 0x0112


def orientation_of(path: Path) -> int:
    """The orientation that EXIF gives a picture: 1 as it is stored, 2 to 8 mirrored or turned.

    A picture that cannot be read, or whose EXIF makes no sense, is not turned.
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
