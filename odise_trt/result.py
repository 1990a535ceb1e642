"""What a segmentation returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .task import Task

if TYPE_CHECKING:
    from PIL.Image import Image

    from .vocabulary import Vocabulary

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic result.

    Attributes:
        id: the value of its pixels in `Result.panoptic`, from 1.
        category_id: index into `Result.vocabulary`.
        name: first name of the category.
        isthing: a countable thing (one segment per object) rather than stuff (one per category).
        score: confidence in [0, 1].
        area: pixels.
        bbox: x, y, width, height in pixels.
    """

    id: int
    category_id: int
    name: str
    isthing: bool
    score: float
    area: int
    bbox: Box


@dataclass(frozen=True)
class Instance:
    """One object of an instance result; the masks of instances may overlap.

    Attributes:
        category_id: index into `Result.vocabulary`.
        name: first name of the category.
        score: confidence in [0, 1].
        mask: bool (H, W).
        area: pixels.
        bbox: x, y, width, height in pixels.
    """

    category_id: int
    name: str
    score: float
    mask: np.ndarray
    area: int
    bbox: Box


@dataclass(frozen=True)
class Result:
    """A segmented image. One of `panoptic`, `semantic` and `instances` is set: the task that ran.

    Attributes:
        image: uint8 (H, W, 3), RGB, as segmented (after EXIF rotation).
        vocabulary: the categories that `category_id` indexes.
        panoptic: int32 (H, W), the id of each pixel's segment; 0: no segment.
        segments: the segments of `panoptic`.
        semantic: int32 (H, W), each pixel's index into the vocabulary; -1: none.
        instances: objects, best first.
        timings: seconds per stage, in the order they ran.
        provenance: what made it: "bundle", "preset", "backend", "precision", "seeded".
        source: the file of the image, from the root; None: it was no file.
    """

    image: np.ndarray
    vocabulary: Vocabulary
    panoptic: np.ndarray | None = None
    segments: Sequence[Segment] = ()
    semantic: np.ndarray | None = None
    instances: Sequence[Instance] | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    source: Path | None = None

    @property
    def task(self) -> Task:
        """The task that ran."""
        if self.panoptic is not None:
            return "panoptic"
        return "semantic" if self.semantic is not None else "instance"

    def overlay(self, max_side: int = 2048) -> Image:
        """The image with its segments coloured and named, and a legend; see `odise_trt.visualize`.

        Args:
            max_side: the image is shrunk to this longer side; one under 640 is enlarged to that.
        """
        from .visualize import draw_overlay

        return draw_overlay(self, max_side)

    def save(
        self,
        folder: str | PathLike[str],
        name: str,
        file_name: str | None = None,
        *,
        overwrite: bool = False,
    ) -> tuple[Path, Path, Path]:
        """Write `<name>.overlay.png`, `<name>.panoptic.png` and `<name>.json`.

        The format is COCO's panoptic one, see docs/cli.md. Files appear whole or not at all.

        Files in the way are replaced if this program wrote them for the same image: the one at the same path;
        if it was no file, or that file was moved, one with the same pixels.

        Args:
            folder: where; made when it does not exist. In text, `~` is the home folder.
            name: of the files, without extension. One that is too long for a file name is shortened.
            file_name: of the image that was segmented, for the JSON; None: that of its file, else `name`.
            overwrite: replace files of others too, but never the image itself.

        Returns:
            The three paths: overlay, map, JSON.

        Raises:
            ArgumentError: the folder is no path, or the name no text.
            OutputError: the folder or a file cannot be written, or a file in the way is not to be replaced.
        """
        from .coco_panoptic import save_result
        from .files.output import named_folder

        return save_result(self, named_folder(folder), name, file_name, overwrite=overwrite)
