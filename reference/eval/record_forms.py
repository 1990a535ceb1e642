"""Forms that check the stored JSON files of an evaluation, which may have been edited or damaged."""

from __future__ import annotations

import math
from typing import Any

from reference.datasets.json_rows import RowForm, Value
from reference.datasets.run_lengths import is_run_lengths


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


_TEXT = Value("a text", lambda value: type(value) is str)
_WHOLE = Value("a whole number", lambda value: type(value) is int)
_SECONDS = Value("a number of seconds", lambda value: _is_number(value) and value >= 0)
_OBJECT = Value("an object", lambda value: type(value) is dict)
_REGION = RowForm("segment", {"id": _WHOLE, "category_id": _WHOLE}, '{"id": 1, "category_id": 1}')
_DETECTION = RowForm(
    "object",
    {
        "category_id": _WHOLE,
        "score": Value("a number", _is_number),
        "segmentation": Value(
            "compressed run lengths that fill their size",
            lambda value: is_run_lengths(value) and type(value["counts"]) is str,
        ),
    },
    '{"category_id": 1, "score": 0.5, "segmentation": {"size": [4, 4], "counts": "`0"}}',
)
RECORD = RowForm(
    "record",
    {
        "image_id": Value("a whole number or a text", lambda value: type(value) in (int, str)),
        "image_sha256": _TEXT,
        "height": _WHOLE,
        "width": _WHOLE,
        "seconds": _SECONDS,
        "maps": Value(
            "a list of panoptic and semantic",
            lambda value: type(value) is list and all(kind in ("panoptic", "semantic") for kind in value),
        ),
        "panoptic": _REGION,
        "instances": _DETECTION,
    },
    "predictions are stored",
    optional=frozenset({"panoptic", "instances"}),
)
REPORT = RowForm(
    "report",
    {
        "name": _TEXT,
        "predictor": _OBJECT,
        "dataset": Value(
            "an object with name, images and of",
            lambda value: (
                type(value) is dict
                and type(value.get("name")) is str
                and all(type(value.get(key)) is int for key in ("images", "of"))
            ),
        ),
        "tasks": Value(
            "a list of texts", lambda value: type(value) is list and all(type(one) is str for one in value)
        ),
        "metrics": Value(
            "an object of numbers and null",
            lambda value: (
                type(value) is dict and all(one is None or _is_number(one) for one in value.values())
            ),
        ),
        "categories": RowForm(
            "category",
            {"name": _TEXT, "isthing": Value("true or false", lambda value: type(value) is bool)},
            '{"name": "cat", "isthing": true}',
        ),
        "seconds": Value(
            "an object with median, mean and images",
            lambda value: (
                type(value) is dict
                and all(_is_number(value.get(key)) for key in ("median", "mean", "images"))
            ),
        ),
        "versions": _OBJECT,
    },
    "reports are written",
)
