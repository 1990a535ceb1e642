"""A picture as one recorded CUDA graph beside the same picture queued run by run, in turns."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from odise_trt import Segmenter

from .programs import is_on_device, programs_given_to, queued

#: Pictures of each kind that are measured: at most, and at least if they take long.
_ROUNDS, _LEAST = 20, 3
#: Pictures of a size after which it is recorded, and some more.
_WARM = 4


def recorded_and_queued(segmenter: Segmenter, pixels: np.ndarray, seconds: float) -> dict[str, Any]:
    """Segment a picture both ways, one after the other, again and again in one process.

    Args:
        segmenter: an opened bundle with a vocabulary.
        pixels: the picture, uint8 (H, W, 3).
        seconds: after so long, no round begins.

    Returns:
        "recorded_seconds", "queued_seconds": medians. "ratio": the median over the rounds of recorded over
        queued. "rounds". "agreement": the least share of pixels that both give the same id in a round. Or
        "why_not", if nothing is recorded here.
    """
    if not is_on_device(segmenter):
        return {"why_not": "numpy works between the engines, and nothing is recorded"}
    for _ in range(_WARM):
        segmenter(pixels)
    how = segmenter.runs_on["CUDA graphs"]
    if how.startswith("not used"):
        return {"why_not": how}
    began = time.perf_counter()
    spent: dict[str, list[float]] = {"recorded": [], "queued": []}
    agreement = 1.0
    while len(spent["queued"]) < _ROUNDS:
        recorded, first = _seconds(segmenter, pixels)
        with programs_given_to(queued):
            plain, second = _seconds(segmenter, pixels)
        spent["recorded"].append(recorded)
        spent["queued"].append(plain)
        agreement = min(agreement, float((first == second).mean()))
        if len(spent["queued"]) >= _LEAST and time.perf_counter() - began > seconds:
            break
    ratios = [one / other for one, other in zip(spent["recorded"], spent["queued"], strict=True)]
    return {
        "recorded_seconds": statistics.median(spent["recorded"]),
        "queued_seconds": statistics.median(spent["queued"]),
        "ratio": statistics.median(ratios),
        "rounds": len(ratios),
        "agreement": agreement,
    }


def _seconds(segmenter: Segmenter, pixels: np.ndarray) -> tuple[float, np.ndarray]:
    began = time.perf_counter()
    found = segmenter(pixels).panoptic
    return time.perf_counter() - began, np.asarray(found)
