"""Masks as COCO stores them: compressed run lengths, with the text that goes into JSON."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from faster_coco_eval.core import mask as coco_mask


class RunLengths(TypedDict):
    """A mask in COCO's compressed run-length encoding.

    Attributes:
        size: height and width.
        counts: the runs, as COCO's own code writes them.
    """

    size: list[int]
    counts: str


def encode_mask(mask: np.ndarray) -> RunLengths:
    """Args: mask: bool (H, W)."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    counts = rle["counts"]
    return RunLengths(
        size=[int(side) for side in rle["size"]],
        counts=counts.decode("ascii") if isinstance(counts, bytes) else counts,
    )


def decode_mask(rle: RunLengths) -> np.ndarray:
    """bool (H, W), the inverse of `encode_mask`."""
    return coco_mask.decode({"size": rle["size"], "counts": rle["counts"].encode("ascii")}).astype(bool)


def mask_area(rle: RunLengths) -> int:
    """Pixels of a mask."""
    return int(coco_mask.area({"size": rle["size"], "counts": rle["counts"].encode("ascii")}))
