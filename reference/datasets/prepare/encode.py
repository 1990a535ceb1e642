"""Encode label images, panoptic maps, and the JSON rows about their segments."""

from __future__ import annotations

from typing import Any

import numpy as np

from odise_trt.coco_panoptic import encode_ids
from odise_trt.pictures.encode import image_bytes
from odise_trt.vocabulary import Vocabulary


def map_bytes(ids: np.ndarray) -> bytes:
    """Encode a panoptic map int32 (H, W) as PNG."""
    return image_bytes(encode_ids(ids), "PNG")


def category_rows(vocabulary: Vocabulary, ids: tuple[int, ...] | None = None) -> list[dict[str, Any]]:
    """Return `categories` of a panoptic JSON; `ids` default to 0, 1, ..."""
    numbers = range(len(vocabulary)) if ids is None else ids
    return [
        {"id": number, "name": category.name, "isthing": int(category.isthing)}
        for number, category in zip(numbers, vocabulary, strict=True)
    ]
