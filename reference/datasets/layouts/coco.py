"""COCO 2017: panoptic maps, objects, captions (cocodataset.org)."""

from __future__ import annotations

import os
from pathlib import Path

from odise_trt.vocabulary import Vocabulary

from ..annotations import InstanceMasks
from ..coco_format import (
    caption_index,
    category_ids,
    category_indices,
    instance_index,
    panoptic_index,
)
from ..forms import ANNOTATION, IMAGE, LISTED, NAMED, OBJECT
from ..images import ImageDataset
from ..json_rows import read_rows
from ..needs import Need, find_root
from .base import Layout

_VOCABULARY = Vocabulary.preset("coco")


def _needs(path: Path, split: str) -> tuple[Need, ...]:
    root = find_root(path, "coco")
    return (
        Need(root / f"{split}2017", "images"),
        Need(root / "annotations" / f"panoptic_{split}2017.json", "segments"),
        Need(root / f"panoptic_{split}2017", "panoptic maps"),
    )


def _open(path: Path, split: str) -> ImageDataset:
    return _dataset(path, split, "coco", captions=False)


def _caption_needs(path: Path, split: str) -> tuple[Need, ...]:
    captions = find_root(path, "coco") / "annotations" / f"captions_{split}2017.json"
    return (*_needs(path, split), Need(captions, "captions"))


def _open_captions(path: Path, split: str) -> ImageDataset:
    return _dataset(path, split, "coco-captions", captions=True)


def _dataset(path: Path, split: str, name: str, captions: bool) -> ImageDataset:
    root = find_root(path, "coco")
    annotations = root / "annotations"
    file = annotations / f"panoptic_{split}2017.json"
    data = read_rows(file, images=IMAGE, annotations=ANNOTATION, categories=NAMED)
    indices = category_indices(data["categories"], _VOCABULARY, file)
    images, maps = panoptic_index(data, file, root / f"{split}2017", root / f"panoptic_{split}2017", indices)
    return ImageDataset(
        name,
        split,
        _VOCABULARY,
        images,
        panoptic=maps,
        instances=_objects(annotations / f"instances_{split}2017.json", split),
        captions=caption_index(annotations / f"captions_{split}2017.json", images) if captions else None,
        category_ids=category_ids(indices),
    )


def _objects(path: Path, split: str) -> InstanceMasks | None:
    """Return the official truth for mAP, whose masks include parts that panoptic maps hide.

    It is read for evaluation only: the JSON of the training split is half a gigabyte, and training uses
    panoptic segments.
    """
    if split != "val" or not os.path.lexists(path):
        return None
    data = read_rows(path, images=LISTED, annotations=OBJECT, categories=NAMED)
    things = [index for index, isthing in enumerate(_VOCABULARY.isthing) if isthing]
    return instance_index(data, path, category_indices(data["categories"], _VOCABULARY, path, things))


LAYOUTS = (
    Layout("coco", "COCO 2017 panoptic", "panoptic, instance, semantic", _needs, _open, _VOCABULARY),
    Layout(
        "coco-captions",
        "COCO 2017 panoptic with captions",
        "caption training",
        _caption_needs,
        _open_captions,
        _VOCABULARY,
    ),
)
