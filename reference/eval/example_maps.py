"""Truth and prediction of one image as two maps of segments, whatever the task, to be drawn side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from odise_trt.task import Task
from reference.datasets.example import IGNORED, Example, PanopticSegment
from reference.datasets.run_lengths import decode
from reference.eval.prediction import Prediction, Region

#: A model lists up to a hundred objects per image, most of them of low score. Objects below this share of the
#: best score of their image are not drawn, as in `odise_trt.visualize`.
WORTH_DRAWING = 0.35


@dataclass(frozen=True)
class Maps:
    """Two maps of one image.

    Attributes:
        truth: int (H, W), ids of `segments`; 0: void.
        segments: of the truth.
        predicted: int (H, W), ids of `regions`; 0: no segment.
        regions: of the prediction.
    """

    truth: np.ndarray
    segments: Sequence[PanopticSegment]
    predicted: np.ndarray
    regions: Sequence[Region]


def maps_of(task: Task, example: Example, prediction: Prediction) -> Maps:
    """The maps of a task, which both the example and the prediction must have."""
    return _MAPS[task](example, prediction)


def _panoptic(example: Example, prediction: Prediction) -> Maps:
    assert example.panoptic is not None
    assert prediction.panoptic is not None
    return Maps(example.panoptic, example.segments, prediction.panoptic, prediction.regions)


def _semantic(example: Example, prediction: Prediction) -> Maps:
    """Each category is one segment. Its id is the category plus one."""
    assert example.semantic is not None
    assert prediction.semantic is not None
    truth = np.where(example.semantic == IGNORED, 0, example.semantic + 1)
    predicted = prediction.semantic + 1
    return Maps(
        truth,
        [PanopticSegment(number, number - 1) for number in _ids(truth)],
        predicted,
        [Region(number, number - 1) for number in _ids(predicted)],
    )


def _instance(example: Example, prediction: Prediction) -> Maps:
    """Objects may overlap: smaller true ones lie on larger ones, predicted ones on those of lower score."""
    assert example.instances is not None
    assert prediction.detections is not None
    size = example.image.shape[:2]
    objects = sorted(example.instances, key=lambda one: -np.count_nonzero(one.mask))
    truth = _painted(size, [one.mask for one in objects])
    least = WORTH_DRAWING * max((one.score for one in prediction.detections), default=0.0)
    detections = sorted(
        (one for one in prediction.detections if one.score >= least), key=lambda one: one.score
    )
    predicted = _painted(size, [decode(one.mask) for one in detections])
    return Maps(
        truth,
        [PanopticSegment(n, objects[n - 1].category, objects[n - 1].iscrowd) for n in _ids(truth)],
        predicted,
        [Region(n, detections[n - 1].category) for n in _ids(predicted)],
    )


def _painted(size: tuple[int, ...], masks: Sequence[np.ndarray]) -> np.ndarray:
    """int32 map of masks bool (H, W), with ids from 1; later masks cover earlier ones."""
    ids = np.zeros(size, np.int32)
    for number, mask in enumerate(masks, 1):
        ids[mask] = number
    return ids


def _ids(segments: np.ndarray) -> list[int]:
    """The ids of a map, except 0."""
    return [number for number in np.unique(segments).tolist() if number]


_MAPS: Mapping[Task, Callable[[Example, Prediction], Maps]] = {
    "panoptic": _panoptic,
    "semantic": _semantic,
    "instance": _instance,
}
