"""From what a picture's engines left on the device to the fields of a result. All tables are small."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends.device_array import DeviceArray
from ..executor import not_finite
from ..segments import Box, Instance, Segment
from ..task import Task
from ..vocabulary import Vocabulary

#: Task -> its id map. Maps that stay on the device come last among what the host reads, so that the rest is
#: one piece.
MAPS: Mapping[Task, str] = {"panoptic": "paint.panoptic", "semantic": "semantic.semantic"}
#: What the host reads, of those that the tasks of a picture make.
READS = (
    "stitch.maps_not_finite",
    "classify.numbers_not_finite",
    "classify.score",
    "assign.segments",
    "top_instances.instance_score",
    "top_instances.instance_category",
    "top_instances.instance_query",
    "instances.instance_bits",
    "instances.instance_row_counts",
    "instances.instance_column_counts",
    "instances.instance_total",
    *MAPS.values(),
)
#: What the counts of numbers that are not finite are about.
_MAPS = (("features", "s2"), ("features", "s3"), ("features", "s4"), ("features", "s5"))
_NUMBERS = (
    ("mask_head", "pred_masks"),
    ("mask_head", "mask_embed"),
    ("clip_pool", "clip_mask_embed"),
    ("classify", "probabilities"),
)

Arrays = Mapping[str, np.ndarray]


def check_finite(arrays: Arrays) -> None:
    """Raise BackendError if an engine gave numbers that are not finite. It names the first such engine."""
    for counts, sources in (
        (arrays["stitch.maps_not_finite"], _MAPS),
        (arrays["classify.numbers_not_finite"], _NUMBERS),
    ):
        for count, (stage, tensor) in zip(counts, sources, strict=True):
            # A count that is no number itself tells the same.
            if not count == 0:
                raise not_finite(stage, tensor)


def fields_of(
    task: Task, arrays: Arrays, maps: Mapping[Task, DeviceArray], vocabulary: Vocabulary, width: int
) -> dict[str, Any]:
    """Return fields of a `Result`.

    Args:
        task: the task.
        arrays: what was read. They are copied.
        maps: the id maps that stay on the device.
        vocabulary: the picture's.
        width: columns of the result. Packed masks have as many as fill whole bytes.
    """
    if task == "instance":
        return {"instances": _instances(arrays, vocabulary, width)}
    fields: dict[str, Any] = {task: maps[task] if task in maps else arrays[MAPS[task]].copy()}
    if task == "panoptic":
        fields["segments"] = _segments(arrays["assign.segments"], arrays["classify.score"], vocabulary)
    return fields


def _segments(table: np.ndarray, score: np.ndarray, vocabulary: Vocabulary) -> list[Segment]:
    """Return the segments in the order of their ids.

    Args:
        table: (Q, 7) of each query its segment (0: none), category, area, first and last row, first and last
            column of what it keeps.
        score: (Q,).
        vocabulary: the names.
    """
    segments = []
    rows = table.astype(np.int64)
    for number in range(1, int(rows[:, 0].max(initial=0)) + 1):
        queries = np.flatnonzero(rows[:, 0] == number)
        own = rows[queries]
        own = own[own[:, 2] > 0] if (own[:, 2] > 0).any() else own
        category = int(own[0, 1])
        segments.append(
            Segment(
                id=number,
                category_id=category,
                name=vocabulary.names[category],
                isthing=bool(vocabulary.isthing[category]),
                score=float(score[queries].max()),
                area=int(own[:, 2].sum()),
                bbox=_box(own[:, 3].min(), own[:, 4].max(), own[:, 5].min(), own[:, 6].max()),
            )
        )
    return segments


def _instances(arrays: Arrays, vocabulary: Vocabulary, width: int) -> list[Instance]:
    """Return the objects, best first: things whose mask is not empty. Objects of one query share one mask."""
    score = arrays["top_instances.instance_score"]
    category, query = (arrays[f"top_instances.instance_{name}"] for name in ("category", "query"))
    rows, columns = (arrays[f"instances.instance_{name}_counts"] for name in ("row", "column"))
    bits, total = arrays["instances.instance_bits"], arrays["instances.instance_total"]
    areas = rows.astype(np.int64).sum(axis=0)
    masks: dict[int, np.ndarray] = {}
    found = []
    for place, kind in enumerate(category):
        area = int(areas[place])
        if score[place] < 0 or not vocabulary.isthing[kind] or area == 0:
            continue
        if int(query[place]) not in masks:
            masks[int(query[place])] = np.unpackbits(bits[:, place], axis=1, count=width).astype(bool)
        ys, xs = np.flatnonzero(rows[:, place]), np.flatnonzero(columns[:, place])
        found.append(
            Instance(
                category_id=int(kind),
                name=vocabulary.names[kind],
                score=float(score[place] * (float(total[place]) / (area + 1e-6))),
                mask=masks[int(query[place])],
                area=area,
                bbox=_box(ys[0], ys[-1], xs[0], xs[-1]),
            )
        )
    return sorted(found, key=lambda instance: -instance.score)


def _box(top: int, bottom: int, left: int, right: int) -> Box:
    return int(left), int(top), int(right - left + 1), int(bottom - top + 1)
