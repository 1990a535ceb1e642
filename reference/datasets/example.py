"""What a dataset gives for one image: the picture, and what people say is in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from odise_trt.vocabulary import Vocabulary

#: Pixels of a semantic map that belong to no category; they count neither way.
IGNORED = -1


@dataclass(frozen=True)
class PanopticSegment:
    """One segment of a panoptic map.

    Attributes:
        id: its value in the map, from 1.
        category: index into the dataset's vocabulary.
        iscrowd: a group of things that nobody took apart; it counts neither way in PQ.
    """

    id: int
    category: int
    iscrowd: bool = False


@dataclass(frozen=True)
class Instance:
    """One object.

    Attributes:
        category: index into the dataset's vocabulary.
        mask: bool (H, W).
        iscrowd: as in `PanopticSegment`.
    """

    category: int
    mask: np.ndarray
    iscrowd: bool = False


@dataclass(frozen=True)
class Example:
    """One image with its truth; what a dataset does not have is None.

    Attributes:
        image_id: as the dataset names the image; unique in it.
        image: uint8 (H, W, 3), RGB.
        panoptic: int32 (H, W), ids of `segments`; 0: void.
        segments: those of the panoptic map.
        semantic: int32 (H, W), categories; `IGNORED` where there is none.
        instances: the objects.
        captions: sentences about the image.
    """

    image_id: int | str
    image: np.ndarray
    panoptic: np.ndarray | None = None
    segments: tuple[PanopticSegment, ...] = ()
    semantic: np.ndarray | None = None
    instances: tuple[Instance, ...] | None = None
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Federation:
    """What the truth of an image says about categories that were not looked for everywhere (LVIS).

    A category that neither has an object in the image nor is `absent` was not looked for in it.

    Attributes:
        absent: categories that were looked for and are not there (`neg_category_ids`).
        incomplete: categories of which some objects may have no mask (`not_exhaustive_category_ids`).
    """

    absent: frozenset[int] = frozenset()
    incomplete: frozenset[int] = frozenset()


class Dataset(Protocol):
    """Images with their truth, one after the other.

    Attributes:
        name: for reports.
        vocabulary: its categories with synonyms, which of them are things, in the order of the indices.
    """

    @property
    def name(self) -> str:
        """See above."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """See above."""
        ...

    def __len__(self) -> int: ...

    def image_id(self, index: int) -> int | str:
        """`Example.image_id` without reading the image."""
        ...

    def __getitem__(self, index: int) -> Example: ...
