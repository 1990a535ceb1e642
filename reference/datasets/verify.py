"""Whether a dataset on disk is complete and fits together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from odise_trt.errors import OdiseError

from .catalogue import layout_of, open_dataset
from .errors import DatasetError
from .overlap import overlap_with
from .sample import IGNORED, Example


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        name, split: of the dataset.
        images: how many there are.
        categories, things, seen: how many categories; those that are things; those that have a name of a COCO
            training category.
        sampled: how many images were read.
        found: in these: panoptic segments, objects, captions, pixels with a category ...
        notes: what is unusual and no fault.
    """

    name: str
    split: str
    images: int
    categories: int
    things: int
    seen: int
    sampled: int
    found: dict[str, int]
    notes: tuple[str, ...]


def verify(
    name: str,
    path: str | Path,
    split: str = "val",
    *,
    samples: int = 20,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Report:
    """Look for every file that the index names, and read some of them.

    Args:
        name, path, split: see `open_dataset`.
        samples: how many images are read, spread evenly.
        progress: told (what is done, how much of it, of how much).

    Raises:
        DatasetError: what is missing, or does not fit together; up to ten faults of the kind.
    """
    dataset = open_dataset(name, path, split)
    absent = []
    for index in range(len(dataset)):
        absent += [str(file) for file in dataset.files(index) if not file.is_file()]
        progress("looking for files", index + 1, len(dataset))
    if absent:
        raise DatasetError(
            f"{len(absent)} files that belong to {dataset.name} are not there:{_listed(absent)}",
            "unpack the archive again" if layout_of(name).work is None else "unpack or prepare it again",
        )
    faults: list[str] = []
    notes: list[str] = []
    found: Counter[str] = Counter()
    chosen = np.unique(
        np.linspace(0, len(dataset) - 1, max(1, min(samples, len(dataset)))).round().astype(int)
    )
    for done, index in enumerate(chosen.tolist(), 1):
        try:
            example = dataset[index]
        except OdiseError as error:
            faults.append(error.message)
        else:
            faults += faults_of(example, len(dataset.vocabulary))
            notes += notes_of(example)
            found.update(counts_of(example))
        progress("reading images", done, len(chosen))
    if faults:
        raise DatasetError(
            f"{len(faults)} faults in {len(chosen)} images of {dataset.name}:{_listed(faults)}",
            "files of different versions or datasets are mixed, or a download was cut short",
        )
    return Report(
        dataset.name,
        split,
        len(dataset),
        len(dataset.vocabulary),
        sum(dataset.vocabulary.isthing),
        sum(overlap_with(dataset.vocabulary)),
        len(chosen),
        dict(found),
        tuple(notes),
    )


def faults_of(example: Example, categories: int) -> list[str]:
    """What in an image's truth contradicts the `Example` contract."""
    faults = []
    place = f"image {example.image_id!r}"
    indices = [segment.category for segment in example.segments]
    indices += [instance.category for instance in example.instances or ()]
    if any(not 0 <= index < categories for index in indices):
        faults.append(f"{place}: a category that there is not")
    for truth in (example.panoptic, example.semantic, *(one.mask for one in example.instances or ())):
        if truth is not None and truth.shape != example.image.shape[:2]:
            faults.append(f"{place}: truth of {truth.shape}, image of {example.image.shape[:2]}")
            break
    return faults


def notes_of(example: Example) -> list[str]:
    """What is unusual about it."""
    notes = []
    if example.panoptic is not None:
        hidden = sorted(
            {segment.id for segment in example.segments} - set(np.unique(example.panoptic).tolist())
        )
        if hidden:
            notes.append(f"image {example.image_id!r}: {len(hidden)} segments have no pixel")
    empty = sum(not instance.mask.any() for instance in example.instances or ())
    if empty:
        notes.append(f"image {example.image_id!r}: {empty} objects have no pixel")
    return notes


def counts_of(example: Example) -> dict[str, int]:
    """How much truth there is."""
    counts = {"captions": len(example.captions), "segments": len(example.segments)}
    if example.instances is not None:
        counts["objects"] = len(example.instances)
    if example.semantic is not None:
        counts["pixels with a category"] = int(np.count_nonzero(example.semantic != IGNORED))
        counts["pixels"] = example.semantic.size
    return {what: count for what, count in counts.items() if count}


def _listed(rows: list[str]) -> str:
    more = f"\n    and {len(rows) - 10} more" if len(rows) > 10 else ""
    return "".join(f"\n    {row}" for row in rows[:10]) + more
