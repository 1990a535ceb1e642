"""Feature maps of an image, as a result that can be saved and read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Features:
    """Feature maps of one image.

    A place of a map is `stride` pixels of the resized image wide and high. The last row and column may extend
    beyond its edge.

    Attributes:
        maps: name -> (C, h, w), float32; float16 if they were read from a file that was saved so. h and w are
            the sides of the resized image, divided by the stride and rounded up.
        strides: name -> pixels of the resized image per place, along one side.
        size: height and width of the resized image.
        image_size: height and width of the image.
        facts: how they were made, and of what: "time_step", "caption", "preset", "weights", "weights_sha256",
            "seeded", "sd_version"; of engines also "bundle", "backend", "precision"; "image" (the file name,
            None if the image was no file) and "pixels" (a digest).
    """

    maps: Mapping[str, np.ndarray]
    strides: Mapping[str, int]
    size: tuple[int, int]
    image_size: tuple[int, int]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def enlarged(self, name: str, places: np.ndarray, height: int, width: int) -> np.ndarray:
        """Resize an array about the places of a map, (h, w, ...), to the image: (height, width, ...).

        Every pixel takes the value of the place that it lies in.
        """
        rows, columns = (
            ((np.arange(length) + 0.5) * full / length / self.strides[name]).astype(np.intp)
            for length, full in zip((height, width), self.size, strict=True)
        )
        return places[np.ix_(rows, columns)]

    def save(self, path: str | PathLike[str], *, half: bool = False, overwrite: bool = False) -> Path:
        """Write an .npz file, see docs/cli.md. It appears whole or not at all.

        Args:
            path: of the file. Missing folders are made. In text, `~` is the home folder.
            half: float16. It halves the file.
            overwrite: replace any file. Otherwise only features of the same image are replaced.

        Raises:
            FeatureError: a number does not fit float16.
            OutputError: the file cannot be written, or a file of that name must stay.
        """
        from .archive import write

        about = {
            "strides": dict(self.strides),
            "size": list(self.size),
            "image_size": list(self.image_size),
            **self.facts,
        }
        return write(path, self.maps, about, half=half, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Features:
        """Read a file of `save`.

        Raises:
            FeatureError: it cannot be read, or is another file.
        """
        from .archive import damaged, read

        maps, about = read(path)
        try:
            size, image_size = (_pair(about.pop(key)) for key in ("size", "image_size"))
            strides = {str(name): int(stride) for name, stride in about.pop("strides").items()}
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise damaged(path, error) from error
        return cls(maps, strides, size, image_size, about)


def _pair(sides: Any) -> tuple[int, int]:
    height, width = sides
    return int(height), int(width)
