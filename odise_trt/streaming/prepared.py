"""From an image of any kind to the picture that a chain takes."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from ..chains import Chain, Picture
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


def prepare(image: ImageSource, chain: Chain, short_side: int, max_side: int) -> Prepared:
    """Read and resize a picture. One that lies on the chain's GPU stays there.

    Args:
        image: as for `load_image`, or an array on the chain's GPU.
        chain: the chain that takes it.
        short_side, max_side: as for `resize_shortest`.

    Raises:
        ImageError: the image cannot be read, or is on a GPU where it cannot be used.
        BackendError: the image is on a GPU, and the chain was closed.
    """
    begin = time.perf_counter()
    picture = chain.adopt(image)
    if picture is None:
        pixels = load_image(image)
        picture = Picture(pixels, resize_shortest(pixels, short_side, max_side))
    path = Path(os.path.abspath(os.fsdecode(image))) if isinstance(image, str | os.PathLike) else None
    return Prepared(picture, path, time.perf_counter() - begin)
