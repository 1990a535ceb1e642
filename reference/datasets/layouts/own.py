"""Your own dataset, in COCO's panoptic format."""

from __future__ import annotations

import os
from pathlib import Path

from ..coco_format import caption_index, category_ids, own_vocabulary, panoptic_index
from ..forms import ANNOTATION, CATEGORY, IMAGE
from ..images import ImageDataset
from ..json_rows import read_rows
from ..needs import Need, is_file, is_there
from .base import Layout

_JSON = "panoptic.json"


def _root(path: Path, split: str) -> Path:
    """Return the folder of the split. Without folders for splits, all data belong to every split.

    A folder `train` counts if it has `panoptic.json`, or if no place has it.
    """
    splits = [path / name for name in ("train", "val")]
    with_data = [folder for folder in splits if is_file(folder / _JSON)]
    if not with_data and not is_file(path / _JSON):
        with_data = [folder for folder in splits if is_there(folder)]
    return path / split if with_data else path


def _needs(path: Path, split: str) -> tuple[Need, ...]:
    root = _root(path, split)
    return (
        Need(root / "images", "images"),
        Need(root / "panoptic", "panoptic maps"),
        Need(root / _JSON, "segments and categories"),
    )


def _open(path: Path, split: str) -> ImageDataset:
    root = _root(path, split)
    file = root / _JSON
    data = read_rows(file, images=IMAGE, annotations=ANNOTATION, categories=CATEGORY)
    vocabulary, indices = own_vocabulary(data["categories"], file)
    images, maps = panoptic_index(data, file, root / "images", root / "panoptic", indices)
    captions = root / "captions.json"
    return ImageDataset(
        "panoptic",
        split,
        vocabulary,
        images,
        panoptic=maps,
        captions=caption_index(captions, images) if os.path.lexists(captions) else None,
        category_ids=category_ids(indices),
    )


LAYOUTS = (
    Layout(
        "panoptic",
        "your own data in COCO's panoptic format, with or without captions",
        "panoptic, instance, semantic",
        _needs,
        _open,
        own=True,
    ),
)
