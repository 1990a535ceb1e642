"""One image of a dataset with its truth, and the interface of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from odise_trt.vocabulary import Vocabulary

#: Value of pixels of a semantic map that belong to no category; they are not scored.
IGNORED = -1


@dataclass(frozen=True)
class PanopticSegment:
    """One segment of a panoptic map.

    Attributes:
        id: its value in the map, from 1.
        category: index into the dataset's vocabulary.
        iscrowd: a group of things that were not annotated one by one; PQ does not score it.
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
    """One image with its truth; None for kinds of truth that the dataset does not have.

    Attributes:
        image_id: as the dataset names the image; unique in it.
        image: uint8 (H, W, 3), RGB.
        panoptic: int32 (H, W), ids of `segments`; 0: void.
        segments: those of the panoptic map.
        semantic: int32 (H, W), categories; `IGNORED` for no category.
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
    """The categories that were annotated in an image of a federated dataset (LVIS).

    A category that has no object in the image and is not `absent` was not annotated in it.

    Attributes:
        absent: categories that were searched for and do not occur (`neg_category_ids`).
        incomplete: categories with possibly more objects than masks (`not_exhaustive_category_ids`).
    """

    absent: frozenset[int] = frozenset()
    incomplete: frozenset[int] = frozenset()


class Dataset(Protocol):
    """Images with their truth, one after the other.

    Attributes:
        name: for reports.
        vocabulary: its categories with synonyms, and which are things, in the order of the indices.
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
        """Return `Example.image_id` without reading the image."""
        ...

    def __getitem__(self, index: int) -> Example: ...
