"""Panoptic quality (Kirillov et al., arXiv 1801.00868), by the rules of cocodataset/panopticapi.

torchmetrics has it too, but knows neither crowds nor segments that are mostly void.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reference.datasets.example import PanopticSegment
from reference.eval.metrics.matching import match_segments
from reference.eval.prediction import Region


@dataclass(frozen=True)
class PanopticScores:
    """Percentages; None where no image has anything of the kind, neither in truth nor predicted.

    Attributes:
        averages: "PQ", "SQ" and "RQ" over all categories, "PQ_things" and so on, "PQ_stuff" and so on.
        categories: the same three per category, with the counts "TP", "FP" and "FN".
    """

    averages: Mapping[str, float | None]
    categories: Sequence[Mapping[str, float | int | None]]


class PanopticQuality:
    """Adds up matched, missed and wrong segments of any number of images."""

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
        """The scores of what was added."""
        seen = self._found + self._missed + self._wrong > 0
        # Categories that were not seen divide by nothing, and are left out below.
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
