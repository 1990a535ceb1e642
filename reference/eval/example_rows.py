"""The first images of an evaluation with truth and predictions, kept to be drawn side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from odise_trt.task import Task
from reference.datasets.example import Dataset, Example
from reference.eval.evaluation import Examined
from reference.eval.example_maps import maps_of
from reference.eval.metrics.matching import match_segments
from reference.eval.prediction import Prediction
from reference.eval.scores import Scores

#: Images that are kept at most: more make a picture that is too long to look at.
MOST_ROWS = 8
#: The number that stands for each task.
METRIC: Mapping[Task, str] = {"panoptic": "PQ", "semantic": "mIoU", "instance": "AP"}


@dataclass(frozen=True)
class SegmentMap:
    """A map of segments, to be drawn.

    Attributes:
        ids: int (H, W); 0: no segment.
        categories: id -> index into the vocabulary.
        unmatched: ids of missed segments of the truth, or of wrong segments of a prediction.
    """

    ids: np.ndarray
    categories: Mapping[int, int]
    unmatched: frozenset[int]


@dataclass(frozen=True)
class PredictedMap:
    """What one predictor says about one image.

    Attributes:
        segments: its map.
        found: number of true segments that it finds.
        missed: ids of the true segments that it does not find.
        score: `METRIC` of this image alone, a percentage; None if the truth has nothing to score.
    """

    segments: SegmentMap
    found: int
    missed: frozenset[int]
    score: float | None

    def caption(self, metric: str) -> str:
        """The score and the counts, as "PQ 61.20: 10 found, 2 missed, 1 wrong"."""
        score = "-" if self.score is None else f"{self.score:.2f}"
        counts = f"{self.found} found, {len(self.missed)} missed, {len(self.segments.unmatched)} wrong"
        return f"{metric} {score}: {counts}"


@dataclass
class ExampleRow:
    """One image with its truth and the predictions for it.

    Attributes:
        image_id: as the dataset names the image.
        image: uint8 (H, W, 3), RGB.
        ids: int (H, W), the true map.
        categories: of the true segments.
        predictions: one per predictor.
    """

    image_id: int | str
    image: np.ndarray
    ids: np.ndarray
    categories: Mapping[int, int]
    predictions: list[PredictedMap] = field(default_factory=list)

    @property
    def truth(self) -> SegmentMap:
        """The true map. Segments that no predictor finds are its unmatched ones."""
        missed = frozenset.intersection(*(one.missed for one in self.predictions))
        return SegmentMap(self.ids, self.categories, missed)


class ExampleRows:
    """Collects the first images of an evaluation.

    Attributes:
        dataset: what is evaluated.
        names: of the predictors.
        rows: one per image.
        task: what is drawn: the first of the evaluated tasks, in the order panoptic, semantic, instance.
    """

    def __init__(self, dataset: Dataset, most: int = MOST_ROWS) -> None:
        """Start without rows; `most`: how many images to keep."""
        self.dataset = dataset
        self.names: list[str] = []
        self.rows: list[ExampleRow] = []
        self.task: Task | None = None
        self._most = most

    def of(self, name: str) -> Examined:
        """A function that collects the predictions of one predictor; `evaluate` calls it with each image.

        Args:
            name: of the predictor.
        """
        self.names.append(name)

        def collect(index: int, example: Example, prediction: Prediction, tasks: Sequence[Task]) -> None:
            self.task = tasks[0]
            if index < self._most:
                self._collect(tasks[0], index, example, prediction)

        return collect

    @property
    def metric(self) -> str:
        """Name of the score of each image."""
        assert self.task is not None, "evaluate comes first"
        return METRIC[self.task]

    def _collect(self, task: Task, index: int, example: Example, prediction: Prediction) -> None:
        maps = maps_of(task, example, prediction)
        if index == len(self.rows):
            categories = {one.id: one.category for one in maps.segments}
            self.rows.append(ExampleRow(example.image_id, example.image, maps.truth, categories))
        matching = match_segments(maps.truth, maps.segments, maps.predicted, maps.regions)
        scores = Scores(self.dataset, [task])
        scores.add(index, example, prediction)
        metrics, _ = scores.result()
        segments = SegmentMap(
            maps.predicted,
            {one.id: one.category for one in maps.regions},
            frozenset(one.id for one in matching.wrong),
        )
        self.rows[index].predictions.append(
            PredictedMap(
                segments,
                len(matching.found),
                frozenset(one.id for one in matching.missed),
                metrics[self.metric],
            )
        )
