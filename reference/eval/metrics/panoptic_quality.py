"""Panoptic quality (Kirillov et al., arXiv 1801.00868), by the rules of cocodataset/panopticapi.

torchmetrics has it too, but knows neither crowds nor segments that are mostly void.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reference.datasets.example import Dataset, PanopticSegment
from reference.eval.metrics.base import Numbers, Scored
from reference.eval.prediction import Region

_VOID = 0


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
        """Compare two maps of one image.

        A segment is found if a predicted one of its category overlaps it by more than one half (intersection
        over union); two can't. Void pixels of the truth are no part of a union. Predicted segments more than
        half of which is void, or crowds of their category, are not held against the prediction; a crowd
        can't be missed.

        Args:
            truth: int (H, W), ids of `segments`, 0: void.
            predicted: int (H, W), ids of `regions`, 0: no segment.

        Raises:
            ValueError: the maps differ in size, or have an id that is no segment's.
        """
        if truth.shape != predicted.shape:
            raise ValueError(f"the truth is {truth.shape} pixels, the prediction {predicted.shape}")
        shared = _overlaps(truth, predicted)
        predicted_area: Counter[int] = Counter()
        for row in shared.values():
            predicted_area.update(row)
        _check_ids("truth", shared.keys(), [one.id for one in segments])
        _check_ids("prediction", predicted_area.keys(), [one.id for one in regions])

        category_of = {one.id: one.category for one in regions}
        matched: set[int] = set()
        crowds: dict[int, list[int]] = {}
        for segment in segments:
            if segment.iscrowd:
                crowds.setdefault(segment.category, []).append(segment.id)
                continue
            for other, intersection in shared.get(segment.id, {}).items():
                if category_of.get(other) != segment.category:
                    continue
                void = shared.get(_VOID, {}).get(other, 0)
                union = sum(shared[segment.id].values()) + predicted_area[other] - intersection - void
                if intersection / union > 0.5:
                    self._overlap[segment.category] += intersection / union
                    self._found[segment.category] += 1
                    matched.add(other)
                    break
            else:
                self._missed[segment.category] += 1
        for region in regions:
            if region.id in matched:
                continue
            forgiven = (_VOID, *crowds.get(region.category, ()))
            excused = sum(shared.get(one, {}).get(region.id, 0) for one in forgiven)
            if excused <= 0.5 * predicted_area[region.id]:
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


def _overlaps(truth: np.ndarray, predicted: np.ndarray) -> dict[int, dict[int, int]]:
    """Pixels that ids have in common: id in the truth -> predicted id -> pixels, all above 0."""
    pairs, counts = np.unique(truth.astype(np.int64) << 32 | predicted.astype(np.int64), return_counts=True)
    shared: dict[int, dict[int, int]] = {}
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        shared.setdefault(pair >> 32, {})[pair & 0xFFFFFFFF] = count
    return shared


def _check_ids(what: str, found: Collection[int], listed: Sequence[int]) -> None:
    unknown = sorted(set(found) - {_VOID, *listed})
    if unknown:
        raise ValueError(f"the {what} has pixels of segment {unknown[0]}, which it does not list")
