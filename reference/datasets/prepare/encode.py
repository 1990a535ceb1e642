"""Encode label images, panoptic maps, and the JSON rows about their segments."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from odise_trt.coco_panoptic import encode_ids
from odise_trt.vocabulary import Vocabulary


def image_bytes(array: np.ndarray, kind: str, **options: Any) -> bytes:
    """Encode an array as an image file.

    Args:
        array: uint8 (H, W) or (H, W, 3), or uint16 (H, W).
        kind: "PNG", "TIFF" or "JPEG".
    """
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format=kind, **options)
    return buffer.getvalue()


def map_bytes(ids: np.ndarray) -> bytes:
    """Encode a panoptic map int32 (H, W) as PNG."""
    return image_bytes(encode_ids(ids), "PNG")


def segment_row(number: int, category_id: int, mask: np.ndarray, iscrowd: bool = False) -> dict[str, Any]:
    """Return the row of a panoptic JSON about a segment; `mask` bool (H, W) must not be empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return {
        "id": number,
        "category_id": category_id,
        "area": int(np.count_nonzero(mask)),
        "bbox": [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
        "iscrowd": int(iscrowd),
    }


def category_rows(vocabulary: Vocabulary, ids: tuple[int, ...] | None = None) -> list[dict[str, Any]]:
    """Return `categories` of a panoptic JSON; `ids` default to 0, 1, ..."""
    numbers = range(len(vocabulary)) if ids is None else ids
    return [
        {"id": number, "name": category.name, "isthing": int(category.isthing)}
        for number, category in zip(numbers, vocabulary, strict=True)
    ]
