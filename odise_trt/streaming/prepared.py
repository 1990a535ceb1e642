"""From an image of any kind to the picture that a chain takes."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from ..chains import Picture
from ..preprocess import ImageSource, load_image, resize_shortest


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture that is ready for a chain.

    Attributes:
        picture: the picture.
        path: the absolute path of its file. None: it was not given by a path.
        seconds: wall time of reading and resizing.
    """

    picture: Picture
    path: Path | None
    seconds: float


def prepare(image: ImageSource, short_side: int, max_side: int) -> Prepared:
    """Read and resize a picture.

    Args:
        image: as for `load_image`.
        short_side, max_side: as for `resize_shortest`.

    Raises:
        ImageError: the image cannot be read.
    """
    begin = time.perf_counter()
    pixels = load_image(image)
    picture = Picture(pixels, resize_shortest(pixels, short_side, max_side))
    path = Path(os.path.abspath(os.fsdecode(image))) if isinstance(image, str | os.PathLike) else None
    return Prepared(picture, path, time.perf_counter() - begin)
