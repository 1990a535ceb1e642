"""Evaluating a predictor on a dataset: one pass over the images, all numbers at the end."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import odise_trt
from odise_trt.vocabulary import Vocabulary
from reference.datasets.errors import DatasetError
from reference.datasets.sample import Dataset, Example
from reference.eval.prediction import TASKS, Predictor, Task
from reference.eval.report import Report
from reference.eval.scores import Scores
from reference.eval.storage import PredictionFolder, Stored, sha256_of_image

#: Told after every image: images done, images in all, seconds of this one (None: it was stored already).
Progress = Callable[[int, int, float | None], None]


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    *,
    output: Path | None = None,
    limit: int | None = None,
    tasks: Sequence[Task] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Predict every image of a dataset and score the predictions.

    Args:
        predictor: what is evaluated.
        dataset: images and truth.
        output: folder for the predictions and the report. Predictions of the same predictor for the same
            images that are there already are not made again. None: nothing is stored.
        limit: evaluate only the first images.
        tasks: evaluate only these; None: all the dataset has truth for, judging by its first image.
        progress: see `Progress`.

    Raises:
        OutputError: the folder cannot be written to, or has predictions of another configuration, or of
            other pictures by the same ids.
        DatasetError: the dataset has no images, or no truth for a task that is asked for.
    """
    count = len(dataset) if limit is None else min(limit, len(dataset))
    if count < 1:
        raise DatasetError(f"{dataset.name} has no images to evaluate")
    wanted = tuple(tasks) if tasks is not None else tasks_of(dataset[0])
    if not wanted:
        raise DatasetError(f"{dataset.name} has no segmentations to compare with")
    image_ids = [dataset.image_id(index) for index in range(count)]
    stored = None if output is None else _open(output, predictor, dataset, wanted)
    predictor.look_for(dataset.vocabulary)
    scores = Scores(dataset, wanted)
    hashes, seconds = [], []
    for index, image_id in enumerate(image_ids):
        example = dataset[index]
        _check_truth(dataset, example, wanted)
        hashes.append(sha256_of_image(example.image))
        known = None if stored is None else stored.load(image_id, hashes[-1])
        result = known or _timed(predictor, example.image, wanted)
        if known is None and stored is not None:
            stored.save(image_id, hashes[-1], example.image.shape[:2], result)
        scores.add(index, example, result.prediction)
        seconds.append(result.seconds)
        if progress is not None:
            progress(index + 1, count, None if known else result.seconds)
    metrics, categories = scores.result()
    report = Report(
        name=predictor.name,
        predictor=predictor.identity,
        dataset={
            "name": dataset.name,
            "images": count,
            "of": len(dataset),
            "images_sha256": _digest(list(zip(image_ids, hashes, strict=True))),
        },
        tasks=wanted,
        metrics=metrics,
        categories=categories,
        seconds={
            "median": float(np.median(seconds)),
            "mean": float(np.mean(seconds)),
            "images": count,
        },
        versions=_versions(),
    )
    if stored is not None and output is not None:
        stored.finish(image_ids)
        report.save(output)
    return report


def tasks_of(example: Example) -> tuple[Task, ...]:
    """The tasks an example has truth for."""
    truth = {"panoptic": example.panoptic, "semantic": example.semantic, "instance": example.instances}
    return tuple(task for task in TASKS if truth[task] is not None)


def _open(output: Path, predictor: Predictor, dataset: Dataset, tasks: Sequence[Task]) -> PredictionFolder:
    given: Sequence[int] | None = getattr(dataset, "category_ids", None)
    ids = given if given is not None else range(1, len(dataset.vocabulary) + 1)
    # Which images is not asked: each record has the hash of its own, and a dataset may grow.
    configuration = {
        # What is made of the engines' outputs is the product's doing.
        "odise-trt": odise_trt.__version__,
        "dataset": {
            "name": dataset.name,
            "categories_sha256": _digest(_facts(dataset.vocabulary, ids)),
        },
        "tasks": list(tasks),
        "predictor": dict(predictor.identity),
    }
    return PredictionFolder(output, dataset.vocabulary, ids, configuration)


def _timed(predictor: Predictor, image: np.ndarray, tasks: Sequence[Task]) -> Stored:
    start = time.perf_counter()
    prediction = predictor.predict(image, tasks)
    return Stored(prediction, time.perf_counter() - start)


def _check_truth(dataset: Dataset, example: Example, tasks: Sequence[Task]) -> None:
    missing = set(tasks) - set(tasks_of(example))
    if missing:
        raise DatasetError(
            f"image {example.image_id} of {dataset.name} has no truth for {', '.join(sorted(missing))}",
            f"what it has: {', '.join(tasks_of(example)) or 'none'}",
        )


def _facts(vocabulary: Vocabulary, ids: Sequence[int]) -> list[Any]:
    return [
        [number, list(category.names), category.isthing]
        for number, category in zip(ids, vocabulary, strict=True)
    ]


def _digest(data: object) -> str:
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()


def _versions() -> Mapping[str, str]:
    versions = {"odise-trt": odise_trt.__version__, "python": platform.python_version()}
    for package in ("torch", "numpy", "onnxruntime", "faster-coco-eval"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
