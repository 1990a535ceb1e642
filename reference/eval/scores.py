"""Compute all metrics of one evaluation, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from reference.datasets.example import Dataset, Example, Federation
from reference.eval.metrics.average_precision import AveragePrecision
from reference.eval.metrics.mean_iou import MeanIoU
from reference.eval.metrics.panoptic_quality import PanopticQuality
from reference.eval.prediction import Prediction, Task


@runtime_checkable
class Federated(Protocol):
    """A dataset whose images were not annotated for every category (LVIS).

    Attributes:
        frequency: "r", "c" or "f" for each category of the vocabulary.
    """

    @property
    def frequency(self) -> Sequence[str]:
        """See above."""
        ...

    def federation(self, index: int) -> Federation:
        """The categories that were not, or not fully, annotated in an image."""
        ...


class Scores:
    """The metrics of some tasks on one dataset."""

    def __init__(self, dataset: Dataset, tasks: Sequence[Task]) -> None:
        """Args:
        dataset: gives the vocabulary, and the federations if it is `Federated`.
        tasks: the tasks to score.
        """
        self._vocabulary = dataset.vocabulary
        isthing = dataset.vocabulary.isthing
        self._federated = dataset if isinstance(dataset, Federated) else None
        frequency = None if self._federated is None else self._federated.frequency
        self._panoptic = PanopticQuality(isthing) if "panoptic" in tasks else None
        self._semantic = MeanIoU(len(isthing)) if "semantic" in tasks else None
        self._instances = AveragePrecision(isthing, frequency) if "instance" in tasks else None

    def add(self, index: int, example: Example, prediction: Prediction) -> None:
        """Score one image.

        Args:
            index: of the image in the dataset.
            example: its truth, for all tasks.
            prediction: its prediction, for all tasks.

        Raises:
            ValueError: the prediction has another size than the image, or unknown categories.
        """
        if self._panoptic is not None:
            assert example.panoptic is not None
            assert prediction.panoptic is not None
            self._panoptic.add(example.panoptic, example.segments, prediction.panoptic, prediction.regions)
        if self._semantic is not None:
            assert example.semantic is not None
            assert prediction.semantic is not None
            self._semantic.add(example.semantic, prediction.semantic)
        if self._instances is not None:
            assert example.instances is not None
            assert prediction.detections is not None
            height, width = example.image.shape[:2]
            federation = None if self._federated is None else self._federated.federation(index)
            self._instances.add((height, width), example.instances, prediction.detections, federation)

    def result(self) -> tuple[dict[str, float | None], list[Mapping[str, Any]]]:
        """Return the metrics as percentages by name, and one row of metrics per category."""
        metrics: dict[str, float | None] = {}
        rows: list[dict[str, Any]] = [
            {"name": category.name, "isthing": category.isthing} for category in self._vocabulary
        ]
        if self._panoptic is not None:
            panoptic = self._panoptic.result()
            metrics |= panoptic.averages
            for row, values in zip(rows, panoptic.categories, strict=True):
                row |= values
        if self._semantic is not None:
            semantic = self._semantic.result()
            metrics |= {"mIoU": semantic.mean_iou, "pixel_accuracy": semantic.pixel_accuracy}
            for row, value in zip(rows, semantic.categories, strict=True):
                row["IoU"] = value
        if self._instances is not None:
            instances = self._instances.result()
            metrics |= instances.averages
            for row, value in zip(rows, instances.categories, strict=True):
                row["AP"] = value
        return metrics, list(rows)
