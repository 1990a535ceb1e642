"""Panoptic quality (Kirillov et al., arXiv 1801.00868), by the rules of cocodataset/panopticapi.

torchmetrics also has PQ, but without the rules for crowds and for segments that are mostly void.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reference.datasets.example import Dataset, PanopticSegment
from reference.eval.metrics.base import Numbers, Scored
from reference.eval.metrics.matching import match_segments
from reference.eval.prediction import Region


@dataclass(frozen=True)
class PanopticScores:
    """Percentages; None if no image has a true or predicted segment of the kind.

    Attributes:
        averages: "PQ", "SQ" and "RQ" over all categories; the same over things ("PQ_things", ...) and over
            stuff ("PQ_stuff", ...).
        categories: "PQ", "SQ" and "RQ" of each category, with the counts "TP", "FP" and "FN".
    """

    averages: Mapping[str, float | None]
    categories: Sequence[Mapping[str, float | int | None]]


class PanopticQuality:
    """Counts found, missed and wrong segments over any number of images."""

    def __init__(self, isthing: Sequence[bool]) -> None:
        """Args: isthing: of each category."""
        self._isthing = np.asarray(isthing, dtype=bool)
        self._overlap = np.zeros(len(isthing))
        self._found, self._missed, self._wrong = np.zeros((3, len(isthing)), dtype=np.int64)

    def add(
        self,
        truth: np.ndarray,
        segments: Sequence[PanopticSegment],
        predicted: np.ndarray,
        regions: Sequence[Region],
    ) -> None:
        """Add the maps of one image; see `match_segments` for arguments, rules and errors."""
        matching = match_segments(truth, segments, predicted, regions)
        for match in matching.found:
            self._overlap[match.segment.category] += match.iou
            self._found[match.segment.category] += 1
        for segment in matching.missed:
            self._missed[segment.category] += 1
        for region in matching.wrong:
            self._wrong[region.category] += 1

    def result(self) -> PanopticScores:
        """Return the scores of all images added so far."""
        seen = self._found + self._missed + self._wrong > 0
        # Categories without any segment divide by zero; they are excluded below.
        with np.errstate(invalid="ignore", divide="ignore"):
            recognition = self._found / (self._found + (self._missed + self._wrong) / 2)
            segmentation = np.where(self._found > 0, self._overlap / self._found, 0.0)
        quality = {"PQ": recognition * segmentation, "SQ": segmentation, "RQ": recognition}
        groups = {"": seen, "_things": seen & self._isthing, "_stuff": seen & ~self._isthing}
        return PanopticScores(
            {
                name + suffix: 100 * float(values[group].mean()) if group.any() else None
                for suffix, group in groups.items()
                for name, values in quality.items()
            },
            [
                {name: 100 * float(values[one]) if seen[one] else None for name, values in quality.items()}
                | {
                    "TP": int(self._found[one]),
                    "FP": int(self._wrong[one]),
                    "FN": int(self._missed[one]),
                }
                for one in range(len(seen))
            ],
        )


class PanopticMetric:
    """Panoptic quality over a dataset, see `Accumulator`."""

    def __init__(self, dataset: Dataset) -> None:
        self._quality = PanopticQuality(dataset.vocabulary.isthing)

    def add(self, image: Scored) -> None:
        """Score one image."""
        truth, prediction = image.example, image.prediction
        assert truth.panoptic is not None
        assert prediction.panoptic is not None
        self._quality.add(truth.panoptic, truth.segments, prediction.panoptic, prediction.regions)

    def result(self) -> Numbers:
        """The numbers of what was added."""
        scores = self._quality.result()
        return Numbers(scores.averages, scores.categories)
