"""Street scenes: Cityscapes and Mapillary Vistas."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from odise_trt.vocabulary import Category, Vocabulary
from reference.errors import DatasetError

from ..annotations import ImageId
from ..cityscapes_ids import CATEGORY_OF_LABEL, LABELS, InstanceIdMaps
from ..coco_format import category, category_ids, own_vocabulary, panoptic_index
from ..example import IGNORED
from ..forms import ANNOTATION, CATEGORY, IMAGE, LABEL, NUMBERED
from ..images import ImageDataset
from ..json_rows import read_rows
from ..needs import Need, find_root, first_existing, is_file
from ..prepare import cityscapes_panoptic
from ..prepare.convert import Work
from .base import Layout

_CITYSCAPES = Vocabulary.preset("cityscapes")
_FOLDERS = {"train": "training", "val": "validation"}


def _city_root(path: Path) -> Path:
    return find_root(path, "cityscapes")


def _city_maps(path: Path, split: str) -> Path:
    return _city_root(path) / "gtFine" / f"cityscapes_panoptic_{split}"


def _city_needs(path: Path, split: str) -> tuple[Need, ...]:
    root, maps = _city_root(path), _city_maps(path, split)
    images = Need(root / "leftImg8bit" / split, "images, by city")
    file = maps.with_suffix(".json")
    if is_file(file):
        return images, Need(maps, "panoptic maps", prepared=True), Need(file, "segments", prepared=True)
    return images, Need(root / "gtFine" / split, "*_gtFine_instanceIds.png, by city")


def _open_city(path: Path, split: str) -> ImageDataset:
    root, maps_folder = _city_root(path), _city_maps(path, split)
    folder = root / "leftImg8bit" / split
    file = maps_folder.with_suffix(".json")
    if not is_file(file):
        # Instance ids contain all information of the panoptic maps that cityscapesscripts makes from them.
        maps = InstanceIdMaps(root / "gtFine" / split)
        images: dict[ImageId, Path] = {
            name: folder / name.split("_")[0] / f"{name}_leftImg8bit.png" for name in maps.names()
        }
        return ImageDataset("cityscapes", split, _CITYSCAPES, images, panoptic=maps, category_ids=LABELS)
    data = read_rows(file, images=IMAGE, annotations=ANNOTATION, categories=NUMBERED)
    indices = {row["id"]: CATEGORY_OF_LABEL.get(row["id"], IGNORED) for row in data["categories"]}
    if sorted(indices.values())[-len(_CITYSCAPES) :] != list(range(len(_CITYSCAPES))):
        raise DatasetError(
            f"{file} has other categories than the 19 of Cityscapes",
            "make it again without --use-train-id, or delete it: gtFine/*_instanceIds.png is read as well",
        )
    images, found = panoptic_index(data, file, folder, maps_folder, indices, _in_its_city)
    return ImageDataset("cityscapes", split, _CITYSCAPES, images, panoptic=found, category_ids=LABELS)


def _in_its_city(name: str) -> str:
    """`aachen_000000_000019_leftImg8bit.png` in the folder `aachen`."""
    name = name.replace("_gtFine_leftImg8bit", "_leftImg8bit")
    return f"{name.split('_')[0]}/{name}"


def _city_work(path: Path, split: str) -> Work:
    return cityscapes_panoptic.work(_city_root(path), split, _city_maps(path, split), _CITYSCAPES)


def _vistas(path: Path, split: str) -> tuple[Path, Path, Path]:
    """The folders of a split and of its maps, and the file about categories."""
    root = find_root(path, "mapillary_vistas", "mapillary")
    folder = root / _FOLDERS[split]
    maps = first_existing(folder / "v1.2" / "panoptic", folder / "panoptic")
    return folder, maps, first_existing(root / "config_v1.2.json", root / "config.json")


def _vistas_needs(path: Path, split: str) -> tuple[Need, ...]:
    folder, maps, _ = _vistas(path, split)
    return (
        Need(folder / "images", "images"),
        Need(maps, "panoptic maps of version 1.2"),
        Need(maps / "panoptic_2018.json", "segments"),
    )


def _open_vistas(path: Path, split: str) -> ImageDataset:
    folder, maps_folder, config = _vistas(path, split)
    file = maps_folder / "panoptic_2018.json"
    data = read_rows(file, images=IMAGE, annotations=ANNOTATION, categories=CATEGORY)
    vocabulary, indices = own_vocabulary([_readable(row) for row in data["categories"]], file)
    if os.path.lexists(config):
        vocabulary = _configured(data["categories"], indices, config)
    images, maps = panoptic_index(data, file, folder / "images", maps_folder, indices, _as_jpeg)
    return ImageDataset(
        "mapillary", split, vocabulary, images, panoptic=maps, category_ids=category_ids(indices)
    )


def _configured(rows: list[dict[str, Any]], indices: dict[int, int], config: Path) -> Vocabulary:
    """Names and flags from the configuration: an id counts its labels from 1."""
    labels = read_rows(config, labels=LABEL)["labels"]
    categories: list[Category | None] = [None] * len(indices)
    for row in rows:
        position = row["id"] - 1
        if not 0 <= position < len(labels) or bool(labels[position]["instances"]) != bool(row["isthing"]):
            raise DatasetError(
                f"{config} does not fit panoptic_2018.json: category {row['id']} differs",
                "the configuration is of another version; version 1.2 is expected",
            )
        name = _plain(labels[position]["readable"])
        place = f"label {position} of {config}"
        categories[indices[row["id"]]] = category(name, bool(row["isthing"]), place)
    return Vocabulary(tuple(category for category in categories if category is not None))


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "name": _plain(row["name"])}


def _plain(name: str) -> str:
    """ "object--traffic-sign--front" and "Traffic Sign (Front)" as words."""
    parts = name.split("--")
    text = " ".join(parts[-2:]) if parts[-1] in ("front", "back") else parts[-1]
    return " ".join(re.sub(r"[-()]", " ", text).lower().split())


def _as_jpeg(name: str) -> str:
    return f"{Path(name).stem}.jpg"


LAYOUTS = (
    Layout(
        "cityscapes",
        "Cityscapes, fine annotations",
        "panoptic, instance, semantic",
        _city_needs,
        _open_city,
        _CITYSCAPES,
        _city_work,
    ),
    Layout(
        "mapillary",
        "Mapillary Vistas 1.2",
        "panoptic, instance, semantic",
        _vistas_needs,
        _open_vistas,
    ),
)
