"""Check and decode COCO's run lengths, plain and compressed.

pycocotools and faster-coco-eval decode in C and do not check that the runs fit the size, so they are not used
here. `reference.eval.rle` encodes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from odise_trt.coco_panoptic import decode_rle

# A character holds six bits: five of the number, the lowest first, and one that says whether more follow.
_COMPRESSED = re.compile(r"(?:[P-o]{0,7}[0-O])*")
_NUMBER = re.compile(r"[P-o]*[0-O]")


def is_run_lengths(value: Any) -> bool:
    """Whether a value is `{"size": [height, width], "counts": [...] or "..."}` whose runs fill the size."""
    if type(value) is not dict or not _is_size(value.get("size")):
        return False
    counts = value.get("counts")
    if type(counts) is str:
        if not _COMPRESSED.fullmatch(counts):
            return False
        counts = runs_of(counts)
    elif type(counts) is not list or set(map(type, counts)) - {int}:
        return False
    return min(counts, default=0) >= 0 and sum(counts) == value["size"][0] * value["size"][1]


def decode(rle: Mapping[str, Any]) -> np.ndarray:
    """Decode run lengths, which `is_run_lengths` accepts, to a mask bool (H, W)."""
    counts: str | Sequence[int] = rle["counts"]
    runs = runs_of(counts) if isinstance(counts, str) else counts
    return decode_rle({"size": rle["size"], "counts": runs})


def runs_of(counts: str) -> list[int]:
    """Decode compressed run lengths; the first run is one of zeros.

    From the fourth run on, the text has the difference to the run two before it.
    """
    runs: list[int] = []
    for match in _NUMBER.finditer(counts):
        digits = [ord(character) - 48 for character in match[0]]
        number = sum((digit & 31) << 5 * place for place, digit in enumerate(digits))
        if digits[-1] & 16:
            number -= 1 << 5 * len(digits)
        runs.append(number + runs[-2] if len(runs) > 2 else number)
    return runs


def _is_size(value: Any) -> bool:
    return (
        type(value) is list
        and len(value) == 2
        and all(type(side) is int and 0 < side < 1 << 20 for side in value)
    )
