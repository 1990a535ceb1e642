"""Make Cityscapes' panoptic maps and their JSON from instance ids, as cityscapesscripts does.

They are for evaluators that read COCO's format. The dataset here also reads the instance ids directly.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from odise_trt.coco_panoptic import segment_row
from odise_trt.vocabulary import Vocabulary

from ..annotations import read_labels
from ..cityscapes_ids import LABELS, SUFFIX, panoptic_of
from ..needs import Need, require
from .convert import Job, Made, Row, Work
from .encode import category_rows, map_bytes


def work(root: Path, split: str, target: Path, vocabulary: Vocabulary) -> Work:
    """Return the work that makes `gtFine/cityscapes_panoptic_{split}` and its JSON.

    Raises:
        DatasetError: a source is missing.
    """
    source = root / "gtFine" / split
    require("cityscapes", root, split, [Need(source, f"*{SUFFIX}, by city")])
    jobs = []
    for path in sorted(source.glob(f"*/[!.]*{SUFFIX}")):
        name = path.name.removesuffix(SUFFIX)
        made = target / f"{name}_gtFine_panoptic.png"
        jobs.append(Job(name, (made,), partial(_convert, path, name, made)))
    return Work(jobs, target.with_suffix(".json"), partial(_summarize, vocabulary))


def _convert(source: Path, name: str, target: Path) -> Made:
    ids, segments = panoptic_of(read_labels(source))
    rows = [segment_row(s.id, LABELS[s.category], ids == s.id, s.iscrowd) for s in segments]
    height, width = ids.shape
    row: Row = {
        "image": {"id": name, "file_name": f"{name}_leftImg8bit.png", "height": height, "width": width},
        "annotation": {"image_id": name, "file_name": target.name, "segments_info": rows},
    }
    return Made({target: map_bytes(ids)}, row)


def _summarize(vocabulary: Vocabulary, rows: list[Row]) -> dict[str, Any]:
    return {
        "images": [row["image"] for row in rows],
        "annotations": [row["annotation"] for row in rows],
        "categories": category_rows(vocabulary, LABELS),
    }
