"""Read COCO's JSON files: panoptic segments, instances, captions, and their categories."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from odise_trt.errors import VocabularyError
from odise_trt.vocabulary import Category, Vocabulary
from odise_trt.vocabulary.format import Entry, category_names, check_distinct
from reference.errors import DatasetError

from .annotations import ImageId, InstanceMasks, PanopticMaps
from .example import IGNORED, Federation
from .forms import CAPTION
from .json_rows import Row, read_rows, repeated


def category_indices(
    rows: Sequence[Row], vocabulary: Vocabulary, path: Path, targets: Sequence[int] | None = None
) -> dict[int, int]:
    """Map the category ids of a JSON to indices of a vocabulary; both are in the order of the ids.

    Names differ between the two (synonyms, "-merged" and "_"). As a check, most categories must have a word
    in common.

    Args:
        rows: `categories` of the JSON, of the form `NAMED`.
        vocabulary: of the dataset.
        path: of the JSON, for messages.
        targets: the indices that the JSON covers; None: all.

    Raises:
        DatasetError: the number of categories or their names differ, or an id occurs twice.
    """
    _check_ids(rows, path)
    targets = range(len(vocabulary)) if targets is None else targets
    ordered = sorted(rows, key=lambda row: row["id"])
    if len(ordered) != len(targets):
        raise DatasetError(
            f"{path} has {len(ordered)} categories, not {len(targets)}",
            "open data with categories of its own as the dataset `panoptic`",
        )
    different = [
        (row["name"], vocabulary[index].name)
        for row, index in zip(ordered, targets, strict=True)
        if not _words(row["name"]) & _words(*vocabulary[index].names)
    ]
    if 2 * len(different) > len(ordered):
        theirs, ours = different[0]
        raise DatasetError(
            f"{path} has other categories, or in another order: {theirs!r} where {ours!r} is expected",
            "open data with categories of its own as the dataset `panoptic`",
        )
    return {row["id"]: index for row, index in zip(ordered, targets, strict=True)}


def own_vocabulary(rows: Sequence[Row], path: Path) -> tuple[Vocabulary, dict[int, int]]:
    """Return the categories of a JSON as a vocabulary in the order of their ids, and id -> index.

    A category has `id`, `name`, `isthing` and optionally `synonyms` (or `names`): a list, or words separated
    by commas.

    Args:
        rows: `categories` of the JSON, of the form `CATEGORY`.
        path: of the JSON, for messages.

    Raises:
        DatasetError: there are no categories, an id or a category occurs twice, or a name is invalid.
    """
    if not rows:
        raise DatasetError(
            f"{path} has no categories", "describe them under `categories`; see docs/datasets.md"
        )
    _check_ids(rows, path)
    ordered = sorted(enumerate(rows), key=lambda one: one[1]["id"])
    with _naming():
        entries = [_entry(row, f"category {position} of {path}") for position, row in ordered]
        check_distinct(entries)
    vocabulary = Vocabulary(tuple(Category(entry.names, bool(entry.isthing)) for entry in entries))
    return vocabulary, {row["id"]: index for index, (_, row) in enumerate(ordered)}


def category(name: str, isthing: bool, place: str) -> Category:
    """Return a category with one name.

    Args:
        name, isthing: of the category.
        place: of the category in its JSON, for messages.

    Raises:
        DatasetError: the name has no visible character.
    """
    with _naming():
        return Category(category_names({"names": [name]}, place), isthing)


def category_ids(indices: Mapping[int, int]) -> tuple[int, ...]:
    """Return the category ids of a JSON, in the order of the vocabulary."""
    return tuple(sorted(indices, key=indices.__getitem__))


def panoptic_index(
    data: Mapping[str, Any],
    path: Path,
    images: Path,
    maps: Path,
    indices: Mapping[int, int],
    place: Callable[[str], str] = lambda name: name,
) -> tuple[dict[ImageId, Path], PanopticMaps]:
    """Return the images and maps of a panoptic JSON.

    Args:
        data: `images` and `annotations` of the JSON, of the forms `IMAGE` and `ANNOTATION`.
        path: of the JSON, for messages.
        images, maps: the folders.
        indices: category id -> index into the vocabulary, `IGNORED` for segments to leave out.
        place: `file_name` of an image -> its path within `images`.

    Raises:
        DatasetError: an annotation has an image or a category that the JSON does not list, an image has no
            annotation, or an id occurs twice.
    """
    names = {row["id"]: row["file_name"] for row in listed_images(data, path)}
    files: dict[ImageId, Path] = {}
    rows: dict[ImageId, tuple[str, np.ndarray]] = {}
    for annotation in data["annotations"]:
        image_id = annotation["image_id"]
        _check_image(image_id, names, path)
        if image_id in rows:
            raise DatasetError(
                f"{path} has two annotations of the image {image_id!r}", "join them, or remove one"
            )
        segments = [
            (s["id"], _index(s["category_id"], indices, path), s.get("iscrowd") or 0)
            for s in annotation["segments_info"]
        ]
        twice = repeated(number for number, _, _ in segments)
        if twice is not None:
            raise DatasetError(
                f"{path} has two segments with the id {twice} in the image {image_id!r}",
                "give each segment of an image an id of its own",
            )
        files[image_id] = images / place(names[image_id])
        rows[image_id] = annotation["file_name"], np.array(segments, dtype=np.int32).reshape(-1, 3)
    without = [image_id for image_id in names if image_id not in rows]
    if without:
        raise DatasetError(
            f"{path} has no annotation of {len(without)} of its images, the first is {without[0]!r}",
            "annotate them, or take them out of `images`",
        )
    return files, PanopticMaps(maps, rows)


def instance_index(data: Mapping[str, Any], path: Path, indices: Mapping[int, int] | None) -> InstanceMasks:
    """Return the objects of an instance JSON.

    Args:
        data: `images` and `annotations` of the JSON, of the forms `LISTED` and `OBJECT`.
        path: of the JSON, for messages.
        indices: category id -> index into the vocabulary; None: all objects are of category 0, and the form
            is `ANY_OBJECT`.

    Raises:
        DatasetError: an annotation has an image or a category that the JSON does not list.
    """
    listed = {row["id"] for row in data["images"]}
    grouped: dict[ImageId, list[Any]] = defaultdict(list)
    for row in data["annotations"]:
        _check_image(row["image_id"], listed, path)
        category = 0 if indices is None else _index(row["category_id"], indices, path)
        grouped[row["image_id"]].append([category, row.get("iscrowd") or 0, row["segmentation"]])
    return InstanceMasks(path, {image_id: json.dumps(found).encode() for image_id, found in grouped.items()})


def listed_images(data: Mapping[str, Any], path: Path) -> Sequence[Row]:
    """Return the images of a JSON.

    Raises:
        DatasetError: an id occurs twice.
    """
    twice = repeated(row["id"] for row in data["images"])
    if twice is not None:
        raise DatasetError(f"{path} has two images with the id {twice!r}", "give each an id of its own")
    rows: Sequence[Row] = data["images"]
    return rows


def federations(data: Mapping[str, Any], path: Path, indices: Mapping[int, int]) -> dict[ImageId, Federation]:
    """Return which categories were annotated in each image of LVIS; see `instance_index`."""

    def listed(image: Row, key: str) -> frozenset[int]:
        return frozenset(_index(number, indices, path) for number in image[key])

    return {
        image["id"]: Federation(
            listed(image, "neg_category_ids"), listed(image, "not_exhaustive_category_ids")
        )
        for image in data["images"]
    }


def caption_index(path: Path, images: Iterable[ImageId]) -> dict[ImageId, tuple[str, ...]]:
    """Return image id -> captions of a COCO caption JSON.

    Args:
        path: of the JSON.
        images: ids of the dataset's images.

    Raises:
        DatasetError: a row has another form, or no caption is of any of these images.
    """
    found: dict[ImageId, list[str]] = defaultdict(list)
    for row in read_rows(path, annotations=CAPTION)["annotations"]:
        found[row["image_id"]].append(row["caption"].strip())
    if found.keys().isdisjoint(images):
        raise DatasetError(
            f"{path} has no caption of any image of this dataset",
            'write each image_id as `images` has the id: 1 is another id than "1"',
        )
    return {image_id: tuple(sentences) for image_id, sentences in found.items()}


def _check_ids(rows: Sequence[Row], path: Path) -> None:
    twice = repeated(row["id"] for row in rows)
    if twice is not None:
        raise DatasetError(f"{path} has two categories with the id {twice}", "give each an id of its own")


def _check_image(image_id: ImageId, listed: Container[ImageId], path: Path) -> None:
    if image_id not in listed:
        raise DatasetError(
            f"{path} has an annotation of the image {image_id!r}, which it does not list",
            'list it under `images`; 1 is another id than "1"',
        )


def _index(number: int, indices: Mapping[int, int], path: Path) -> int:
    index = indices.get(number)
    if index is None:
        raise DatasetError(
            f"{path} has an annotation with category {number}, which it does not list",
            "list it under `categories`, or correct the annotation",
        )
    return index if index >= 0 else IGNORED


def _entry(row: Row, place: str) -> Entry:
    return Entry(category_names(row, place), bool(row["isthing"]), place, numbered=True)


@contextmanager
def _naming() -> Iterator[None]:
    """Turn a VocabularyError of a name, which says its place, into a DatasetError."""
    try:
        yield
    except VocabularyError as error:
        raise DatasetError(error.message, error.hint) from error


def _words(*names: str) -> set[str]:
    return {word.rstrip("s") for name in names for word in re.split(r"[\W_]+", name.lower()) if word}
