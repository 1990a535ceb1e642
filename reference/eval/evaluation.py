"""Evaluate a predictor on a dataset in one pass over the images."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import odise_trt
from odise_trt.errors import ImageError, OdiseError, OutputError
from odise_trt.package_versions import package_version
from odise_trt.task import TASKS, Task
from odise_trt.vocabulary import Vocabulary
from reference.datasets.example import Dataset, Example
from reference.errors import DatasetError, counted, listed, out_of_memory
from reference.eval.prediction import Prediction, Predictor
from reference.eval.report import Report
from reference.eval.scores import Scores
from reference.eval.storage import (
    DamagedPredictionError,
    PredictionFolder,
    Stored,
    sha256_of_image,
)

#: Called after each image: images done, images in all, seconds of this one (None: its prediction was stored).
Progress = Callable[[int, int, float | None], None]
#: Called with each image that was scored: its index in the dataset, its truth, its prediction, and the tasks.
Examined = Callable[[int, Example, Prediction, Sequence[Task]], None]


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    *,
    output: Path | None = None,
    limit: int | None = None,
    tasks: Sequence[Task] | None = None,
    progress: Progress | None = None,
    examined: Examined | None = None,
) -> Report:
    """Predict every image of a dataset and score the predictions.

    If an image cannot be read, the others are still predicted and stored. Then no numbers are returned,
    because they would be those of fewer images.

    Args:
        predictor: the model to evaluate.
        dataset: images and truth.
        output: folder for the predictions and the report. Stored predictions of the same predictor for the
            same images are used again. None: nothing is stored.
        limit: evaluate only the first `limit` images.
        tasks: evaluate only these. None: all tasks that the first image has truth for.
        progress: see `Progress`.
        examined: see `Examined`.

    Raises:
        OutputError: the folder cannot be written to, has predictions of another configuration, or has
            predictions for other pictures with the same ids.
        DatasetError: the dataset has no images, or no truth for a requested task; or some images could not
            be evaluated, all of which are listed in one message.
    """
    count = len(dataset) if limit is None else min(limit, len(dataset))
    if count < 1:
        raise DatasetError(f"{dataset.name} has no images to evaluate")
    wanted = _tasks(dataset, count, tasks)
    image_ids = [dataset.image_id(index) for index in range(count)]
    stored = None if output is None else _open(output, predictor, dataset, wanted)
    predictor.look_for(dataset.vocabulary)
    scores = Scores(dataset, wanted)
    hashes, seconds = [], []
    failed: list[OdiseError] = []
    for index, image_id in enumerate(image_ids):
        known = False
        try:
            one = _evaluated(predictor, dataset, index, wanted, stored)
            scores.add(index, one.example, one.result.prediction)
            if examined is not None:
                examined(index, one.example, one.result.prediction, wanted)
        except (ImageError, DatasetError, DamagedPredictionError) as error:
            failed.append(error)
        except MemoryError:
            failed.append(out_of_memory(f"image {image_id!r} of {dataset.name}"))
        else:
            known = one.known
            hashes.append(one.sha256)
            seconds.append(one.result.seconds)
        if progress is not None:
            progress(index + 1, count, None if known or not seconds else seconds[-1])
    _refuse(dataset, count, failed, kept=stored is not None)
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
    """Return the tasks that an example has truth for."""
    truth = {"panoptic": example.panoptic, "semantic": example.semantic, "instance": example.instances}
    return tuple(task for task in TASKS if truth[task] is not None)


@dataclass(frozen=True)
class _Evaluated:
    """One image with its prediction.

    Attributes:
        known: whether the prediction was read from disk.
    """

    example: Example
    sha256: str
    result: Stored
    known: bool


def _evaluated(
    predictor: Predictor,
    dataset: Dataset,
    index: int,
    tasks: Sequence[Task],
    stored: PredictionFolder | None,
) -> _Evaluated:
    image_id, example = dataset.image_id(index), dataset[index]
    _check_truth(dataset, example, tasks)
    digest, size = sha256_of_image(example.image), example.image.shape[:2]
    known = None if stored is None else stored.load(image_id, digest, size)
    if known is not None:
        return _Evaluated(example, digest, known, known=True)
    try:
        result = _timed(predictor, example.image, tasks)
    except ImageError as error:
        raise ImageError(f"image {image_id!r}: {error.message}", error.hint) from error
    if stored is not None:
        stored.save(image_id, digest, size, result)
    return _Evaluated(example, digest, result, known=False)


def _tasks(dataset: Dataset, count: int, tasks: Sequence[Task] | None) -> tuple[Task, ...]:
    """Return the tasks to evaluate, in the order of `TASKS`."""
    if tasks is not None:
        unknown = [task for task in tasks if task not in TASKS]
        if unknown or not tasks:
            raise DatasetError(f"there is no task {', '.join(unknown)}", f"there are: {', '.join(TASKS)}")
        return tuple(task for task in TASKS if task in tasks)
    failed: list[OdiseError] = []
    for index in range(count):
        try:
            found = tasks_of(dataset[index])
        except (ImageError, DatasetError) as error:
            failed.append(error)
            continue
        if not found:
            raise DatasetError(
                f"{dataset.name} has no segmentations to compare with", "docs/datasets.md has the layouts"
            )
        return found
    _refuse(dataset, count, failed, kept=False)
    raise AssertionError("there is at least one image")


def _refuse(dataset: Dataset, count: int, failed: Sequence[OdiseError], kept: bool) -> None:
    """Raise one error that lists all images that could not be evaluated, if there are any."""
    if not failed:
        return
    stored_only = all(isinstance(error, DamagedPredictionError) for error in failed)
    kind = OutputError if stored_only else DatasetError
    raise kind(
        f"{len(failed)} of {counted(count, 'image')} of {dataset.name} could not be evaluated, and there are "
        f"no numbers:{listed(failed)}",
        "correct these, and the same command goes on: the predictions for the others are kept"
        if kept
        else "correct these, and start again",
    )


def _open(output: Path, predictor: Predictor, dataset: Dataset, tasks: Sequence[Task]) -> PredictionFolder:
    given: Sequence[int] | None = getattr(dataset, "category_ids", None)
    ids = given if given is not None else range(1, len(dataset.vocabulary) + 1)
    # The images are not part of it: each record has the hash of its image, and a dataset may grow.
    configuration = {
        # The code after the engines decides the results, too.
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
            versions[package] = package_version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
