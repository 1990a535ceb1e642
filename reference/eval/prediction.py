"""The prediction of a model for one image, and the interface of a model that can be evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from odise_trt.task import Task
from odise_trt.vocabulary import Vocabulary
from reference.eval.rle import RunLengths


@dataclass(frozen=True)
class Region:
    """A segment of a predicted panoptic map.

    Attributes:
        id: its value in the map, from 1.
        category: index into the vocabulary.
    """

    id: int
    category: int


@dataclass(frozen=True)
class Detection:
    """A predicted object.

    Attributes:
        category: index into the vocabulary.
        score: confidence.
        mask: as run lengths, so that the masks of a whole dataset fit into memory.
    """

    category: int
    score: float
    mask: RunLengths


@dataclass(frozen=True)
class Prediction:
    """All predictions for one image, at its size; None for tasks that were not requested.

    Attributes:
        panoptic: int32 (H, W), ids of `regions`; 0: no segment.
        regions: of the panoptic map.
        semantic: int32 (H, W), categories; -1: no category.
        detections: objects, in any order.
    """

    panoptic: np.ndarray | None = None
    regions: tuple[Region, ...] = ()
    semantic: np.ndarray | None = None
    detections: tuple[Detection, ...] | None = None


class Predictor(Protocol):
    """A model that can be evaluated."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides the predictions, as JSON. Predictors of equal identity predict the same."""
        ...

    @property
    def name(self) -> str:
        """The name in tables."""
        ...

    def look_for(self, vocabulary: Vocabulary) -> None:
        """Prepare for the categories of a dataset. Called once, before the first image."""
        ...

    def predict(self, image: np.ndarray, tasks: Sequence[Task]) -> Prediction:
        """Segment an image uint8 (H, W, 3), RGB."""
        ...
