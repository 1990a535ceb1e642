"""What a segmentation returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
    """

    image: np.ndarray
    vocabulary: Vocabulary
    panoptic: np.ndarray | None = None
    segments: Sequence[Segment] = ()
    semantic: np.ndarray | None = None
    instances: Sequence[Instance] | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """The task that ran: "panoptic", "semantic" or "instance"."""
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
        self, folder: str | PathLike[str], name: str, file_name: str | None = None
    ) -> tuple[Path, Path, Path]:
        """Write `<name>.overlay.png`, `<name>.panoptic.png` and `<name>.json`.

        The format is COCO's panoptic one, see docs/cli.md. Files appear whole or not at all.

        Args:
            folder: where; made when it does not exist.
            name: of the files, without extension.
            file_name: of the image that was segmented, for the JSON; None: `name`.

        Returns:
            The three paths: overlay, map, JSON.

        Raises:
            OutputError: the folder or a file cannot be written.
        """
        from .coco_panoptic import save_result

        return save_result(self, Path(folder), name, file_name)
