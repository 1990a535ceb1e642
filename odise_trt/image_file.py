"""Opening the file of a picture: whatever Pillow raises becomes an `ImageError` that names the picture.

Photos, panoptic maps and label images are all opened here.
"""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from .errors import ImageError, reason

#: Largest image that is decoded, in pixels: twice Pillow's own warning limit, 0.5 GB as RGB.
MAX_PIXELS = 178_956_970

# Raster formats only: Pillow hands PostScript to an interpreter, which is no way to treat a stranger's file.
FORMATS = (
    "JPEG",
    "MPO",
    "PNG",
    "WEBP",
    "AVIF",
    "TIFF",
    "BMP",
    "DIB",
    "GIF",
    "ICO",
    "JPEG2000",
    "PPM",
    "TGA",
)
# What Pillow's decoders raise for damaged files; RuntimeError for AVIF.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, RuntimeError, struct.error)


@contextmanager
def open_picture(source: str | os.PathLike[str] | BinaryIO, name: str) -> Iterator[Image.Image]:
    """A picture whose pixels are decoded when the block asks for them.

    Args:
        source: a path, or an open file.
        name: of the picture, for messages.

    Raises:
        ImageError: on entry or from within the block: it cannot be read, is not a picture of `FORMATS`, is
            damaged, or has more pixels than Pillow decodes.
    """
    Image.init()
    formats = [one for one in FORMATS if one in Image.OPEN]
    with reading(name), warnings.catch_warnings():
        # Our own limit, checked from the header before anything is decoded, takes the warning's place.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(source, formats=formats) as image:
            yield image


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Errors of decoding, as an `ImageError` that names the picture."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is too large: {error}", "shrink it first") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image that can be read") from error
    except OSError as error:
        if error.errno is not None:
            raise ImageError(f"{name} cannot be read: {reason(error)}") from error
        raise ImageError(f"{name} is damaged: {error}", "a truncated download?") from error
    except _DAMAGE as error:
        raise ImageError(f"{name} is damaged: {error}", "a truncated download?") from error
