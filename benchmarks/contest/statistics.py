"""Samples of a measurement -> what a record says about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: What a machine cannot tell, and why.
NOT_MEASURED = "not_measured"


def not_measured(why: str) -> dict[str, str]:
    """Return the entry of a record for a number that there is not."""
    return {NOT_MEASURED: why}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share (0 to 1) of the values lies, interpolated between neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def spread(values: Iterable[float]) -> dict[str, float]:
    """Return minimum, p50, p90 and p99."""
    found = list(values)
    return {
        "min": min(found),
        "p50": percentile(found, 0.5),
        "p90": percentile(found, 0.9),
        "p99": percentile(found, 0.99),
    }


def summary(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarise the answers to the requests "segment" of one contender.

    Returns:
        `runs`, their number, and each as `spread`: `stages`, seconds per stage; `segmentation`, seconds from
        the file to the results of all tasks, and `segmentation_cpu`, its processor time; `end_to_end` and
        `end_to_end_cpu`, the same until the panoptic result is drawn and saved;
        `panoptic_saved`, `end_to_end` without the other two tasks, as `odise-trt run` does it. `foreign`:
        processors that were busy for others, mean of the runs, or None.
    """
    stages = dict.fromkeys(stage for sample in samples for stage in sample["stages"])
    foreign = [sample["foreign"] for sample in samples if sample.get("foreign") is not None]
    return {
        "runs": len(samples),
        "stages": {stage: spread(sample["stages"].get(stage, 0.0) for sample in samples) for stage in stages},
        "segmentation": spread(sample["seconds"] for sample in samples),
        "segmentation_cpu": spread(sample["cpu_seconds"] for sample in samples),
        "end_to_end": spread(sample["total_seconds"] for sample in samples),
        "panoptic_saved": spread(
            sample["total_seconds"]
            - sum(sample["stages"].get(task, 0.0) for task in ("semantic", "instance"))
            for sample in samples
        ),
        "end_to_end_cpu": spread(sample["total_cpu_seconds"] for sample in samples),
        "foreign": sum(foreign) / len(foreign) if foreign else None,
    }


def relative_l2(found: Any, expected: Any) -> float:
    """Return |found - expected| / |expected| of two arrays, summed in float64 query by query."""
    import numpy as np

    distance, size = 0.0, 0.0
    for one, other in zip(found, expected, strict=True):
        distance += float(np.square(np.subtract(one, other, dtype=np.float64)).sum())
        size += float(np.square(other.astype(np.float64)).sum())
    return float((distance / size) ** 0.5) if size else float(distance > 0)
