"""Mean intersection over union of semantic maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reference.datasets.example import Dataset
from reference.eval.metrics.base import Numbers, Scored


@dataclass(frozen=True)
class SemanticScores:
    """Percentages.

    Attributes:
        mean_iou: over the categories that the truth has somewhere; None if it has none.
        pixel_accuracy: share of the pixels with a category whose category was found; None if there are none.
        categories: intersection over union of each category; None where the truth never has it.
    """

    mean_iou: float | None
    pixel_accuracy: float | None
    categories: Sequence[float | None]


class MeanIoU:
    """Adds up the pixels of any number of images, then divides: large images count more than small ones."""

    def __init__(self, categories: int) -> None:
        """Args: categories: how many there are."""
        self._right, self._truth, self._predicted = np.zeros((3, categories), dtype=np.int64)

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Compare two maps of one image.

        Args:
            truth: int (H, W), categories; pixels below 0 are ignored.
            predicted: int (H, W), categories; below 0: none, which is wrong wherever the truth has one.

        Raises:
            ValueError: the maps differ in size, or have a category there is none of.
        """
        if truth.shape != predicted.shape:
            raise ValueError(f"the truth is {truth.shape} pixels, the prediction {predicted.shape}")
        counted = truth >= 0
        expected, given = truth[counted], predicted[counted]
        count = len(self._right)
        for what, values in (("truth", expected), ("prediction", given)):
            if values.size and values.max() >= count:
                raise ValueError(f"the {what} has category {values.max()}, of {count}")
        self._truth += np.bincount(expected, minlength=count)
        self._predicted += np.bincount(given[given >= 0], minlength=count)
        self._right += np.bincount(expected[expected == given], minlength=count)

    def result(self) -> SemanticScores:
        """The scores of what was added."""
        known = self._truth > 0
        if not known.any():
            return SemanticScores(None, None, [None] * len(known))
        union = np.where(known, self._truth + self._predicted - self._right, 1)
        overlap = 100 * self._right / union
        return SemanticScores(
            float(overlap[known].mean()),
            float(100 * self._right.sum() / self._truth.sum()),
            [float(value) if there else None for value, there in zip(overlap, known, strict=True)],
        )


class SemanticMetric:
    """Mean intersection over union over a dataset, see `Accumulator`."""

    def __init__(self, dataset: Dataset) -> None:
        self._scores = MeanIoU(len(dataset.vocabulary))

    def add(self, image: Scored) -> None:
        """Score one image."""
        truth, predicted = image.example.semantic, image.prediction.semantic
        assert truth is not None
        assert predicted is not None
        self._scores.add(truth, predicted)

    def result(self) -> Numbers:
        """The numbers of what was added."""
        scores = self._scores.result()
        averages = {"mIoU": scores.mean_iou, "pixel_accuracy": scores.pixel_accuracy}
        return Numbers(averages, [{"IoU": value} for value in scores.categories])
