"""The forms of the rows in the JSON files of datasets."""

from __future__ import annotations

import math
import os
from pathlib import PurePosixPath
from typing import Any

from .json_rows import RowForm, Value
from .run_lengths import is_run_lengths

_MOST = 1 << 63


def _is_number(value: Any) -> bool:
    # Not isinstance: `true` is not a number here.
    return type(value) is int and -_MOST <= value < _MOST


def _is_text(value: Any) -> bool:
    return type(value) is str and (value.isascii() or _has_whole_characters(value))


def _has_whole_characters(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_name(value: Any) -> bool:
    return _is_text(value) and not value.isspace() and value != ""


def _is_id(value: Any) -> bool:
    return _is_number(value) or (type(value) is str and value != "")


def is_inside(name: Any) -> bool:
    """Whether a value is a relative path without `..`."""
    if type(name) is not str or "\0" in name:
        return False
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _is_polygon(value: Any) -> bool:
    return (
        type(value) is list
        and len(value) % 2 == 0
        and set(map(type, value)) <= {int, float}
        and all(map(_is_finite, value))
    )


def _is_finite(value: float) -> bool:
    return abs(value) < _MOST and math.isfinite(value)


def _is_segmentation(value: Any) -> bool:
    return all(map(_is_polygon, value)) if type(value) is list else is_run_lengths(value)


_ID = Value("a whole number or a text", _is_id)
_NUMBER = Value("a whole number", _is_number)
_NUMBERS = Value("a list of whole numbers", lambda value: type(value) is list and all(map(_is_number, value)))
_FLAG = Value("0, 1, true or false", lambda value: type(value) in (int, bool) and value in (0, 1))
_NAME = Value("a text that is not empty", _is_name)
_FILE = Value("a file name in the folder, without ..", is_inside)

IMAGE = RowForm("image", {"id": _ID, "file_name": _FILE}, '{"id": 1, "file_name": "street.jpg"}', label="id")
SEGMENT = RowForm(
    "segment",
    {
        "id": Value(
            "a whole number from 1 to 16777215", lambda value: type(value) is int and 0 < value < 1 << 24
        ),
        "category_id": _NUMBER,
        # Other tools write null here.
        "iscrowd": Value(_FLAG.wanted, lambda value: value is None or _FLAG.fits(value)),
    },
    '{"id": 1, "category_id": 1}',
    optional=frozenset({"iscrowd"}),
    label="id",
)
_OUTLINES = (
    "this is COCO's instance format, with outlines or boxes of objects; what is wanted is COCO's panoptic "
    "format, with a PNG of ids for each picture: see docs/datasets.md"
)
ANNOTATION = RowForm(
    "annotation",
    {"image_id": _ID, "file_name": _FILE, "segments_info": SEGMENT},
    '{"image_id": 1, "file_name": "street.png", "segments_info": [{"id": 1, "category_id": 1}]}',
    label="image_id",
    others={"segmentation": _OUTLINES, "bbox": _OUTLINES},
)
# `odise_trt.vocabulary.format.category_names` checks names further.
_SYNONYMS = Value(
    "a list of names, or names separated by commas",
    lambda value: value is None or _is_text(value) or (type(value) is list and all(map(_is_text, value))),
)
CATEGORY = RowForm(
    "category",
    {"id": _NUMBER, "name": _NAME, "isthing": _FLAG, "synonyms": _SYNONYMS, "names": _SYNONYMS},
    '{"id": 1, "name": "cat", "isthing": 1, "synonyms": ["cats"]}',
    optional=frozenset({"synonyms", "names"}),
    label="name",
)
CAPTION = RowForm(
    "caption",
    {"image_id": _ID, "caption": Value("a text", _is_text)},
    '{"image_id": 1, "caption": "A cat."}',
    label="image_id",
)

#: Categories of a dataset with a vocabulary preset.
NAMED = RowForm("category", {"id": _NUMBER, "name": _NAME}, '{"id": 1, "name": "cat"}', label="name")
NUMBERED = RowForm("category", {"id": _NUMBER}, '{"id": 7, "name": "road"}', label="name")
LVIS_CATEGORY = RowForm(
    "category",
    {**NAMED.values, "frequency": Value('"r", "c" or "f"', lambda value: value in ("r", "c", "f"))},
    '{"id": 1, "name": "cat", "frequency": "f"}',
    label="name",
)
LVIS_IMAGE = RowForm(
    "image",
    {
        "id": _ID,
        "coco_url": Value(
            "an address that ends in a folder and a file",
            lambda value: type(value) is str and "/" in value and is_inside(file_of_url(value)),
        ),
        "neg_category_ids": _NUMBERS,
        "not_exhaustive_category_ids": _NUMBERS,
    },
    '{"id": 1, "coco_url": "http://images.cocodataset.org/val2017/000000000001.jpg", '
    '"neg_category_ids": [], "not_exhaustive_category_ids": []}',
    label="id",
)
#: Images of an instance JSON, whose file names come from another JSON.
LISTED = RowForm("image", {"id": _ID}, '{"id": 1, "file_name": "street.jpg"}', label="id")
_SEGMENTATION = Value("polygons, or a run-length encoding whose runs fill its size", _is_segmentation)
#: An object without category.
ANY_OBJECT = RowForm(
    "annotation",
    {"image_id": _ID, "iscrowd": SEGMENT.values["iscrowd"], "segmentation": _SEGMENTATION},
    '{"image_id": 1, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]]}',
    optional=frozenset({"iscrowd"}),
    label="image_id",
)
OBJECT = RowForm(
    "annotation",
    {**ANY_OBJECT.values, "category_id": _NUMBER},
    ANY_OBJECT.example,
    optional=ANY_OBJECT.optional,
    label="image_id",
)
#: A label of Mapillary's configuration.
LABEL = RowForm(
    "label",
    {"readable": _NAME, "instances": _FLAG},
    '{"readable": "Bird", "instances": true}',
    label="readable",
)


def file_of_url(address: str) -> str:
    """Return the last folder and the file of an address, as `val2017/000000397133.jpg`."""
    return "/".join(address.split("/")[-2:])
