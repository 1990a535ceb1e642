"""A dataset of one's own, in COCO's panoptic format."""

from __future__ import annotations

from pathlib import Path

from ..coco_format import caption_index, category_ids, own_vocabulary, panoptic_index, read_json
from ..images import ImageDataset
from ..layout import Need
from .layout import Layout


def _root(path: Path, split: str) -> Path:
    """The folder of the split; where there are no folders for splits, everything is every split."""
    return path / split if any((path / folder).is_dir() for folder in ("train", "val")) else path


def _needs(path: Path, split: str) -> tuple[Need, ...]:
    root = _root(path, split)
    return (
        Need(root / "images", "images"),
        Need(root / "panoptic", "panoptic maps"),
        Need(root / "panoptic.json", "segments and categories"),
    )


def _open(path: Path, split: str) -> ImageDataset:
    root = _root(path, split)
    file = root / "panoptic.json"
    data = read_json(file, "images", "annotations", "categories")
    vocabulary, indices = own_vocabulary(data["categories"], file)
    images, maps = panoptic_index(data, file, root / "images", root / "panoptic", indices)
    captions = root / "captions.json"
    return ImageDataset(
        "panoptic",
        split,
        vocabulary,
        images,
        panoptic=maps,
        captions=caption_index(captions, images) if captions.is_file() else None,
        category_ids=category_ids(indices),
    )


LAYOUTS = (
    Layout(
        "panoptic",
        "your own data in COCO's panoptic format, with or without captions",
        "panoptic, instance, semantic",
        _needs,
        _open,
    ),
)
