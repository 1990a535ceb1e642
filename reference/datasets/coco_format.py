"""COCO's JSON: panoptic segments, instances, captions, and the categories they speak of."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from odise_trt.vocabulary import Category, Vocabulary

from .errors import DatasetError
from .parts import ImageId, InstanceMasks, PanopticMaps
from .rows import ANNOTATION, CAPTION, CATEGORY, IMAGE, SEGMENT
from .sample import IGNORED, Federation

Row = Mapping[str, Any]


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """A JSON file that has these keys.

    Raises:
        DatasetError: it cannot be read, is no JSON, or lacks a key.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DatasetError(f"{path} is no JSON: {error}", "a truncated download?") from error
    gone = [key for key in keys if not isinstance(data, dict) or key not in data]
    if gone:
        raise DatasetError(f"{path} has no {', '.join(gone)}", f"it should have {', '.join(keys)}")
    return data


def category_indices(
    rows: Sequence[Row], vocabulary: Vocabulary, path: Path, targets: Sequence[int] | None = None
) -> dict[int, int]:
    """Category ids of a JSON -> indices into a vocabulary: both are in the order of the ids.

    Names differ between the two (synonyms, "-merged" and "_"), so what is asked of them is that most have a
    word in common.

    Args:
        rows: `categories` of the JSON.
        path: of the JSON, for messages.
        targets: the indices that the JSON is about; None: all.

    Raises:
        DatasetError: another number of categories, or other ones.
    """
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
    """The categories of a JSON as a vocabulary in the order of their ids, and id -> index.

    A category has `id`, `name`, `isthing` and, if you like, `synonyms` (or `names`): a list, or words
    separated by commas.

    Raises:
        DatasetError: none, or one that is not written like that, or an id or a name twice.
        VocabularyError: a name in which nothing can be seen.
    """
    if not rows:
        raise DatasetError(
            f"{path} has no categories", "describe them under `categories`; see docs/datasets.md"
        )
    for place, row in enumerate(rows):
        CATEGORY.check(row, path, place)
    ordered = sorted(rows, key=lambda row: row["id"])
    for key in ("id", "name"):
        values = [row[key] for row in ordered]
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise DatasetError(
                f"{path} has two categories with the {key} {twice[0]!r}", "rename one, or join them"
            )
    categories = tuple(Category((row["name"], *_synonyms(row)), bool(row["isthing"])) for row in ordered)
    return Vocabulary(categories), {row["id"]: index for index, row in enumerate(ordered)}


def category_ids(indices: Mapping[int, int]) -> tuple[int, ...]:
    """The category ids of a JSON, in the order of the vocabulary."""
    return tuple(sorted(indices, key=indices.__getitem__))


def panoptic_index(
    data: Mapping[str, Any],
    path: Path,
    images: Path,
    maps: Path,
    indices: Mapping[int, int],
    place: Callable[[str], str] = lambda name: name,
) -> tuple[dict[ImageId, Path], PanopticMaps]:
    """Images and maps of a panoptic JSON.

    Args:
        data: the JSON.
        path: of the JSON, for messages.
        images, maps: the folders.
        indices: category id -> index into the vocabulary, `IGNORED` for segments to leave out.
        place: from the `file_name` of an image to where it lies in `images`.

    Raises:
        DatasetError: a row that is not written as it should be; an annotation of an image, or with a
            category, that the JSON does not have; an image without annotation; segments without an id of
            their own.
    """
    names: dict[ImageId, str] = {}
    for position, row in enumerate(data["images"]):
        IMAGE.check(row, path, position)
        if row["id"] in names:
            raise DatasetError(f"{path} has two images with the id {row['id']!r}")
        names[row["id"]] = row["file_name"]
    files: dict[ImageId, Path] = {}
    rows: dict[ImageId, tuple[str, np.ndarray]] = {}
    for position, annotation in enumerate(data["annotations"]):
        ANNOTATION.check(annotation, path, position)
        image_id = annotation["image_id"]
        if image_id not in names:
            raise DatasetError(f"{path} has an annotation of the image {image_id!r}, which it does not list")
        if image_id in rows:
            raise DatasetError(f"{path} has two annotations of the image {image_id!r}")
        for segment in annotation["segments_info"]:
            SEGMENT.check(segment, path, f"of the image {image_id!r}")
        segments = [
            (s["id"], _index(s["category_id"], indices, path), s.get("iscrowd") or 0)
            for s in annotation["segments_info"]
        ]
        numbers = [row[0] for row in segments]
        if len(set(numbers)) < len(numbers) or not all(0 < number < 1 << 24 for number in numbers):
            raise DatasetError(
                f"{path} has ids of segments of the image {image_id!r} that are repeated, or outside of 1 "
                "to 2**24 - 1"
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
    """The objects of an instance JSON.

    Args:
        data: the JSON.
        path: of the JSON, for messages.
        indices: category id -> index into the vocabulary; None: everything is category 0.

    Raises:
        DatasetError: an annotation with a category that the JSON does not have.
    """
    grouped: dict[ImageId, list[Any]] = defaultdict(list)
    for row in data["annotations"]:
        category = 0 if indices is None else _index(row["category_id"], indices, path)
        grouped[row["image_id"]].append([category, row.get("iscrowd", 0), row["segmentation"]])
    return InstanceMasks({image_id: json.dumps(found).encode() for image_id, found in grouped.items()})


def federations(data: Mapping[str, Any], path: Path, indices: Mapping[int, int]) -> dict[ImageId, Federation]:
    """What LVIS's JSON says about categories that were not looked for everywhere; see `instance_index`."""

    def listed(image: Row, key: str) -> frozenset[int]:
        return frozenset(_index(number, indices, path) for number in image[key])

    return {
        image["id"]: Federation(
            listed(image, "neg_category_ids"), listed(image, "not_exhaustive_category_ids")
        )
        for image in data["images"]
    }


def caption_index(path: Path, images: Iterable[ImageId]) -> dict[ImageId, tuple[str, ...]]:
    """Image -> its sentences, of a COCO caption JSON.

    Args:
        path: of the JSON.
        images: of the dataset.

    Raises:
        DatasetError: a row that is not written as it should be, or not one caption of these images.
    """
    found: dict[ImageId, list[str]] = defaultdict(list)
    for position, row in enumerate(read_json(path, "annotations")["annotations"]):
        CAPTION.check(row, path, position)
        found[row["image_id"]].append(row["caption"].strip())
    if found.keys().isdisjoint(images):
        raise DatasetError(
            f"{path} has no caption of any image of this dataset",
            'write each image_id as `images` has the id: 1 is another id than "1"',
        )
    return {image_id: tuple(sentences) for image_id, sentences in found.items()}


def _index(number: int, indices: Mapping[int, int], path: Path) -> int:
    index = indices.get(number)
    if index is None:
        raise DatasetError(f"{path} has an annotation with category {number}, which it does not list")
    return index if index >= 0 else IGNORED


def _synonyms(row: Row) -> tuple[str, ...]:
    given = row.get("synonyms", row.get("names", ()))
    return tuple(name.strip() for name in given.split(",")) if isinstance(given, str) else tuple(given)


def _words(*names: str) -> set[str]:
    return {word.rstrip("s") for name in names for word in re.split(r"[\W_]+", name.lower()) if word}
