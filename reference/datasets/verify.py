"""Check that a dataset on disk is complete and consistent."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from odise_trt.errors import OdiseError
from reference.errors import DatasetError, counted, listed, out_of_memory

from .catalogue import layout_of, open_dataset
from .example import IGNORED, Example
from .images import ImageDataset
from .layouts.base import Layout
from .near_misses import forget, listing, whereabouts
from .needs import why_no_file
from .orientation import swaps_sides
from .overlap import overlap_with
from .parallel import in_parallel

#: Files that Windows leaves in folders of pictures.
_LITTER = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Report:
    """What `verify` has found.

    Attributes:
        name, split: of the dataset.
        images: number of images.
        categories, things, seen: number of categories, of those that are things, and of those with a name of
            a COCO training category.
        sampled: number of images that were read.
        found: counts of their panoptic segments, objects, captions, pixels with a category, ...
        notes: unusual facts that are not faults.
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


@dataclass
class _Seen:
    """The findings about one image."""

    faults: list[OdiseError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    found: dict[str, int] = field(default_factory=dict)


def verify(
    name: str,
    path: str | Path,
    split: str = "val",
    *,
    samples: int | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Report:
    """Check that every file of the index exists, and read every image with its truth.

    Images are read by `dataset[index]`, as in training and evaluation.

    Args:
        name, path, split: see `open_dataset`.
        samples: read only this many images, spread evenly; None: all.
        progress: called with the name of the work, the number of finished items, and the number of all.

    Raises:
        DatasetError: something is missing or inconsistent; one message lists all of it.
    """
    forget()
    dataset = open_dataset(name, path, split)
    seen: dict[int, _Seen] = {}
    for index in range(len(dataset)):
        absent = [
            DatasetError(why, whereabouts(file))
            for file in dataset.files(index)
            if (why := why_no_file(file)) is not None
        ]
        if absent:
            seen[index] = _Seen(list(absent))
        progress("looking for files", index + 1, len(dataset))
    chosen = _spread(len(dataset), samples)
    complete = [index for index in chosen if index not in seen]
    reading = in_parallel(complete, lambda index: _look(dataset, index), os.cpu_count() or 1)
    for done, (index, future) in enumerate(reading, 1):
        seen[index] = future.result()
        progress("reading images", done, len(complete))
    ordered = [seen[index] for index in sorted(seen)]
    faults = [fault for one in ordered for fault in one.faults]
    layout = layout_of(name)
    if faults:
        raise DatasetError(
            f"{counted(len(faults), 'fault')} in {counted(len(ordered), 'image')} of {dataset.name}:"
            f"{listed(faults)}",
            _what_next(layout),
        )
    found: Counter[str] = Counter()
    for one in ordered:
        found.update(one.found)
    notes = [note for one in ordered for note in one.notes]
    return Report(
        dataset.name,
        split,
        len(dataset),
        len(dataset.vocabulary),
        sum(dataset.vocabulary.isthing),
        sum(overlap_with(dataset.vocabulary)),
        len(chosen),
        dict(found),
        (*(_unlisted(dataset) if layout.own else ()), *notes),
    )


def _spread(count: int, samples: int | None) -> list[int]:
    if samples is None or samples >= count:
        return list(range(count))
    return sorted(set(np.linspace(0, count - 1, max(1, samples)).round().astype(int).tolist()))


def _look(dataset: ImageDataset, index: int) -> _Seen:
    try:
        example = dataset[index]
    except OdiseError as error:
        return _Seen([error])
    except MemoryError:
        return _Seen([out_of_memory(str(dataset.files(index)[0]))])
    faults: list[OdiseError] = [DatasetError(fault) for fault in faults_of(example, len(dataset.vocabulary))]
    notes = [*_about_turning(example, dataset.orientation(index)), *notes_of(example)]
    return _Seen(faults, notes, counts_of(example))


def _what_next(layout: Layout) -> str:
    if layout.own:
        return "correct them, and run the same command again"
    again = "unpack the archive again" if layout.work is None else "unpack or prepare it again"
    return f"files of different versions or datasets are mixed, or a download was cut short: {again}"


def _unlisted(dataset: ImageDataset) -> list[str]:
    """Return notes that count the files which belong to no image of the index."""
    belonging = {file for index in range(len(dataset)) for file in dataset.files(index)}
    notes = []
    for folder in sorted({file.parent for file in belonging}):
        others = [
            name
            for name in listing(folder)
            if folder / name not in belonging
            and name[0] != "."
            and name.lower() not in _LITTER
            and not os.path.isdir(folder / name)
        ]
        if others:
            notes.append(
                f"{folder}: {counted(len(others), 'file')} that the JSON does not list, the first is "
                f"{min(others)}"
            )
    return notes


def _about_turning(example: Example, orientation: int) -> list[str]:
    """Return a note if EXIF turns an image and the size of its map does not show how the map is turned."""
    height, width = example.image.shape[:2]
    if orientation == 1 or (swaps_sides(orientation) and height != width):
        return []
    return [
        f"image {example.image_id!r} is turned by EXIF (orientation {orientation}): the map must be of the "
        "picture as shown"
    ]


def faults_of(example: Example, categories: int) -> list[str]:
    """Return how the truth of an image contradicts the definition of `Example`."""
    faults = []
    place = f"image {example.image_id!r}"
    indices = [segment.category for segment in example.segments]
    indices += [instance.category for instance in example.instances or ()]
    if any(not 0 <= index < categories for index in indices):
        faults.append(f"{place}: a category that does not exist")
    for truth in (example.panoptic, example.semantic, *(one.mask for one in example.instances or ())):
        if truth is not None and truth.shape != example.image.shape[:2]:
            faults.append(f"{place}: truth of {truth.shape}, image of {example.image.shape[:2]}")
            break
    return faults


def notes_of(example: Example) -> list[str]:
    """Return unusual facts about an image that are not faults."""
    notes = []
    if example.panoptic is not None:
        hidden = sorted(
            {segment.id for segment in example.segments} - set(np.unique(example.panoptic).tolist())
        )
        if hidden:
            notes.append(f"image {example.image_id!r}: {_without_pixel(len(hidden), 'segment')}")
    empty = sum(not instance.mask.any() for instance in example.instances or ())
    if empty:
        notes.append(f"image {example.image_id!r}: {_without_pixel(empty, 'object')}")
    return notes


def _without_pixel(number: int, what: str) -> str:
    return f"{counted(number, what)} {'has' if number == 1 else 'have'} no pixel"


def counts_of(example: Example) -> dict[str, int]:
    """Count the truth of an image, by kind."""
    counts = {"captions": len(example.captions), "segments": len(example.segments)}
    if example.instances is not None:
        counts["objects"] = len(example.instances)
    if example.semantic is not None:
        counts["pixels with a category"] = int(np.count_nonzero(example.semantic != IGNORED))
        counts["pixels"] = example.semantic.size
    return {what: count for what, count in counts.items() if count}
