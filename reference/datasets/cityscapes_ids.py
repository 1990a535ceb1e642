"""Read Cityscapes' `*_gtFine_instanceIds.png`: one number per pixel for label and object.

A value below 1000 is a label: stuff, or a group of things that were not annotated one by one. A value from
1000 on is label * 1000 + number of the object.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from odise_trt.vocabulary import Vocabulary

from .annotations import ImageId, read_labels
from .example import PanopticSegment

#: Label ids of the 19 categories that are evaluated, in the order of the train ids.
LABELS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
CATEGORY_OF_LABEL = {label: category for category, label in enumerate(LABELS)}

SUFFIX = "_gtFine_instanceIds.png"
_ISTHING = Vocabulary.preset("cityscapes").isthing


class InstanceIdMaps:
    """Panoptic maps made from instance ids; a `PanopticPart`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Return the names of the images that have ids, as `aachen_000000_000019`."""
        return sorted(path.name.removesuffix(SUFFIX) for path in self._folder.glob(f"*/[!.]*{SUFFIX}"))

    def file(self, image_id: ImageId) -> Path:
        """See `PanopticPart`."""
        name = str(image_id)
        return self._folder / name.split("_")[0] / f"{name}{SUFFIX}"

    def read(self, image_id: ImageId) -> tuple[np.ndarray, tuple[PanopticSegment, ...]]:
        """See `PanopticPart`."""
        return panoptic_of(read_labels(self.file(image_id)))


def panoptic_of(ids: np.ndarray) -> tuple[np.ndarray, tuple[PanopticSegment, ...]]:
    """Convert instance ids to a panoptic map by the rules of cityscapesscripts' createPanopticImgs.

    Args:
        ids: int32 (H, W).

    Returns:
        The map int32 (H, W), with the same ids, or 0 for labels outside the 19 categories; and its segments.
    """
    segments = []
    for number in np.unique(ids).tolist():
        category = CATEGORY_OF_LABEL.get(number if number < 1000 else number // 1000)
        if category is not None:
            crowd = number < 1000 and _ISTHING[category]
            segments.append(PanopticSegment(number, category, crowd))
    known = np.isin(ids, [segment.id for segment in segments])
    return np.where(known, ids, np.int32(0)), tuple(segments)
