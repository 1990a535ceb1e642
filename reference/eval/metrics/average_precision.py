"""Average precision and recall of object masks by the rules of COCO and LVIS, computed by faster-coco-eval.

Masks are kept as run lengths. Categories are evaluated a few at a time: the library keeps a table of images
times categories, which for LVIS would take gigabytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from reference.datasets.example import Dataset, Federation, Instance
from reference.eval.metrics.base import Federated, Numbers, Scored
from reference.eval.prediction import Detection
from reference.eval.rle import RunLengths, encode_mask, mask_area

#: Most detections of one image that count: per category for COCO, of all categories together for LVIS.
COCO_DETECTIONS, LVIS_DETECTIONS = 100, 300
_SIZES = ("", "s", "m", "l")
_LARGEST_TABLE = 1_000_000


@dataclass(frozen=True)
class InstanceScores:
    """Percentages; None if the truth has no object of the kind.

    Attributes:
        averages: "AP" (over IoU 0.50, 0.55 to 0.95), "AP50", "AP75", "APs", "APm", "APl" (objects of less
            than 32 x 32 pixels, up to 96 x 96, more), "AR@100" (recall of the best 100 masks of an image,
            whatever their categories), and with frequencies "AP_r", "AP_c", "AP_f" (rare, common, frequent).
        categories: AP of each category.
    """

    averages: Mapping[str, float | None]
    categories: Sequence[float | None]


class _True(NamedTuple):
    image: int
    mask: RunLengths
    area: int
    iscrowd: bool


class _Found(NamedTuple):
    image: int
    mask: RunLengths
    score: float


class AveragePrecision:
    """Collects the true and the predicted objects of any number of images."""

    def __init__(self, isthing: Sequence[bool], frequency: Sequence[str] | None = None) -> None:
        """Args:
        isthing: of each category; only things are objects.
        frequency: of each category, "r", "c" or "f"; None: the dataset is not LVIS.
        """
        self._isthing = tuple(isthing)
        self._frequency = None if frequency is None else np.array(frequency)
        self._sizes: list[tuple[int, int]] = []
        self._federations: list[Federation | None] = []
        self._truth: defaultdict[int, list[_True]] = defaultdict(list)
        self._found: defaultdict[int, list[_Found]] = defaultdict(list)

    def add(
        self,
        size: tuple[int, int],
        truth: Sequence[Instance],
        detections: Sequence[Detection],
        federation: Federation | None = None,
    ) -> None:
        """Add an image.

        Args:
            size: height and width.
            truth: the true objects.
            detections: the predicted objects.
            federation: of the image, for LVIS.

        Raises:
            ValueError: a mask has another size, or a federation is given without frequencies, or the reverse.
        """
        if (federation is None) != (self._frequency is None):
            raise ValueError("frequencies of categories and federations of images go together")
        for what, sizes in (
            ("the truth", {one.mask.shape for one in truth}),
            ("the prediction", {tuple(one.mask["size"]) for one in detections}),
        ):
            if sizes - {size}:
                raise ValueError(f"a mask of {what} is {(sizes - {size}).pop()} pixels, the image {size}")
        image = len(self._sizes) + 1
        self._sizes.append(size)
        self._federations.append(federation)
        for instance in truth:
            if instance.mask.any():
                area = int(np.count_nonzero(instance.mask))
                row = _True(image, encode_mask(instance.mask), area, instance.iscrowd)
                self._truth[instance.category].append(row)
        if federation is not None:
            best = sorted(detections, key=lambda one: -one.score)[:LVIS_DETECTIONS]
            # The library ignores the others, too, but fails on an image that has only others.
            looked_for = {one.category for one in truth} | set(federation.absent)
            detections = [one for one in best if one.category in looked_for]
        for one in detections:
            self._found[one.category].append(_Found(image, one.mask, one.score))

    def result(self) -> InstanceScores:
        """Return the scores of all images added so far."""
        things = [one for one, isthing in enumerate(self._isthing) if isthing]
        # (categories, sizes, thresholds), nan if the truth has no such object.
        precision = np.full((len(self._isthing), len(_SIZES), 10), np.nan)
        most = max(1, _LARGEST_TABLE // max(1, len(self._sizes)))
        for start in range(0, len(things), most):
            some = things[start : start + most]
            precision[some] = self._precision(some)
        averages = {f"AP{suffix}": _percent(precision[:, size]) for size, suffix in enumerate(_SIZES)}
        averages |= {"AP50": _percent(precision[:, 0, 0]), "AP75": _percent(precision[:, 0, 5])}
        averages["AR@100"] = self._recall(things)
        if self._frequency is not None:
            for group in "rcf":
                averages[f"AP_{group}"] = _percent(precision[self._frequency == group, 0])
        return InstanceScores(averages, [_percent(one[0]) for one in precision])

    def _precision(self, categories: Sequence[int]) -> np.ndarray:
        truth = {one: self._truth[one] for one in categories if self._truth[one]}
        found = {one: self._found[one] for one in categories if self._found[one]}
        scores = np.full((len(categories), len(_SIZES), 10), np.nan)
        if truth:
            most = COCO_DETECTIONS if self._frequency is None else LVIS_DETECTIONS
            # (thresholds, recalls, categories, sizes, 1), -1 if the truth has no such object.
            federated = self._frequency is not None
            measured = self._evaluate(categories, truth, found, most, federated)["precision"]
            means = measured[..., 0].mean(axis=1).transpose(1, 2, 0)
            scores[means > -1] = means[means > -1]
        return scores

    def _recall(self, things: Sequence[int]) -> float | None:
        """Return AR@100. A mask that is predicted with several categories is one candidate."""
        truth = [row for one in things for row in self._truth[one]]
        best: dict[tuple[int, str], _Found] = {}
        for row in (row for one in things for row in self._found[one]):
            key = row.image, row.mask["counts"]
            if key not in best or best[key].score < row.score:
                best[key] = row
        if all(row.iscrowd for row in truth):
            return None
        found = {0: list(best.values())} if best else {}
        measured = self._evaluate((0,), {0: truth}, found, COCO_DETECTIONS, False)["recall"]
        return 100 * float(measured[:, 0, 0, 0].mean())

    def _evaluate(
        self,
        categories: Sequence[int],
        truth: Mapping[int, Sequence[_True]],
        found: Mapping[int, Sequence[_Found]],
        most: int,
        federated: bool,
    ) -> Mapping[str, np.ndarray]:
        images = {row.image for rows in truth.values() for row in rows}
        images |= {row.image for rows in found.values() for row in rows}
        header: dict[str, Any] = {
            "images": [self._image(image, federated) for image in sorted(images)],
            "categories": [self._category(one, federated) for one in categories],
        }
        true = COCO({**header, "annotations": list(_annotations(truth))})
        predicted = COCO({**header, "annotations": list(_annotations(found))})
        evaluation = COCOeval_faster(true, predicted, "segm", lvis_style=federated, print_function=_silent)
        evaluation.params.maxDets = [most]
        evaluation.evaluate()
        evaluation.accumulate()
        return evaluation.eval

    def _image(self, number: int, federated: bool) -> dict[str, Any]:
        height, width = self._sizes[number - 1]
        facts: dict[str, Any] = {"id": number, "height": height, "width": width}
        federation = self._federations[number - 1]
        if federated and federation is not None:
            facts["neg_category_ids"] = [one + 1 for one in federation.absent]
            facts["not_exhaustive_category_ids"] = [one + 1 for one in federation.incomplete]
        return facts

    def _category(self, number: int, federated: bool) -> dict[str, Any]:
        facts: dict[str, Any] = {"id": number + 1, "name": str(number)}
        if federated and self._frequency is not None:
            facts["frequency"] = str(self._frequency[number])
        return facts


class InstanceMetric:
    """Average precision and recall over a dataset, see `Accumulator`."""

    def __init__(self, dataset: Dataset) -> None:
        frequency = dataset.frequency if isinstance(dataset, Federated) else None
        self._scores = AveragePrecision(dataset.vocabulary.isthing, frequency)

    def add(self, image: Scored) -> None:
        """Score one image."""
        truth, detections = image.example.instances, image.prediction.detections
        assert truth is not None
        assert detections is not None
        height, width = image.example.image.shape[:2]
        self._scores.add((height, width), truth, detections, image.federation)

    def result(self) -> Numbers:
        """The numbers of what was added."""
        scores = self._scores.result()
        return Numbers(scores.averages, [{"AP": value} for value in scores.categories])


def _annotations(rows: Mapping[int, Sequence[_True | _Found]]) -> Iterator[dict[str, Any]]:
    number = 0
    for category, some in rows.items():
        for row in some:
            number += 1
            facts = {
                "id": number,
                "image_id": row.image,
                "category_id": category + 1,
                "segmentation": dict(row.mask),
            }
            if isinstance(row, _True):
                yield facts | {"area": row.area, "iscrowd": int(row.iscrowd)}
            else:
                yield facts | {"area": mask_area(row.mask), "iscrowd": 0, "score": row.score}


def _percent(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return 100 * float(known.mean()) if known.size else None


def _silent(*_: object) -> None:
    """Print nothing: the library's own reports are not needed."""
