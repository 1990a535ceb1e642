"""Compute all metrics of one evaluation, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from odise_trt.task import Task
from reference.datasets.example import Dataset, Example
from reference.eval.metrics import catalogue
from reference.eval.metrics.base import Federated, Scored
from reference.eval.prediction import Prediction

# A library that is missing is found now, before any model is loaded.
for _metric in catalogue.METRICS:
    _metric.load()


class Scores:
    """The metrics of some tasks on one dataset."""

    def __init__(self, dataset: Dataset, tasks: Sequence[Task]) -> None:
        """Args:
        dataset: gives the vocabulary, and the federations if it is `Federated`.
        tasks: the tasks to score.
        """
        self._vocabulary = dataset.vocabulary
        self._federated = dataset if isinstance(dataset, Federated) else None
        self._accumulators = [metric.load()(dataset) for metric in catalogue.METRICS if metric.task in tasks]

    def add(self, index: int, example: Example, prediction: Prediction) -> None:
        """Score one image.

        Args:
            index: of the image in the dataset.
            example: its truth, for all tasks.
            prediction: its prediction, for all tasks.

        Raises:
            ValueError: the prediction has another size than the image, or unknown categories.
        """
        federation = None if self._federated is None else self._federated.federation(index)
        for accumulator in self._accumulators:
            accumulator.add(Scored(example, prediction, federation))

    def result(self) -> tuple[dict[str, float | None], list[Mapping[str, Any]]]:
        """Return the metrics as percentages by name, and one row of metrics per category."""
        metrics: dict[str, float | None] = {}
        rows: list[dict[str, Any]] = [
            {"name": category.name, "isthing": category.isthing} for category in self._vocabulary
        ]
        for accumulator in self._accumulators:
            numbers = accumulator.result()
            metrics |= numbers.averages
            for row, values in zip(rows, numbers.categories, strict=True):
                row.update(values)
        return metrics, list(rows)
