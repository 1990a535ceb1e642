"""ADE20K: SceneParse150 with panoptic maps, and the full dataset's 847 categories."""

from __future__ import annotations

from pathlib import Path

from odise_trt.vocabulary import Vocabulary

from ..annotations import ImageId, SemanticMaps
from ..coco_format import category_ids, category_indices, panoptic_index
from ..forms import ANNOTATION, IMAGE, NAMED
from ..images import ImageDataset, by_stem
from ..json_rows import read_rows
from ..needs import Need, find_root
from ..prepare import ade_full, ade_panoptic
from ..prepare.convert import Work
from .base import Layout

_ADE150 = Vocabulary.preset("ade150")
_ADE847 = Vocabulary.preset("ade847")
_FOLDERS = {"train": "training", "val": "validation"}


def _root(path: Path) -> Path:
    return find_root(path, "ADEChallengeData2016", "ade/ADEChallengeData2016")


def _needs(path: Path, split: str) -> tuple[Need, ...]:
    root = _root(path)
    maps = root / f"ade20k_panoptic_{split}"
    return (
        Need(root / "images" / _FOLDERS[split], "images"),
        Need(root / "annotations" / _FOLDERS[split], "category maps"),
        Need(maps, "panoptic maps", prepared=True),
        Need(maps.with_suffix(".json"), "segments", prepared=True),
    )


def _open(path: Path, split: str) -> ImageDataset:
    root = _root(path)
    maps_folder = root / f"ade20k_panoptic_{split}"
    file = maps_folder.with_suffix(".json")
    data = read_rows(file, images=IMAGE, annotations=ANNOTATION, categories=NAMED)
    indices = category_indices(data["categories"], _ADE150, file)
    images, maps = panoptic_index(data, file, root / "images" / _FOLDERS[split], maps_folder, indices)
    # Not derived from the panoptic maps: things that were not annotated as instances are only in these maps.
    folder = root / "annotations" / _FOLDERS[split]
    files: dict[ImageId, Path] = {image_id: folder / f"{path.stem}.png" for image_id, path in images.items()}
    semantic = SemanticMaps(files, len(_ADE150), first=1, ignored=frozenset({0}))
    return ImageDataset(
        "ade150",
        split,
        _ADE150,
        images,
        panoptic=maps,
        semantic=semantic,
        category_ids=category_ids(indices),
    )


def _work(path: Path, split: str) -> Work:
    return ade_panoptic.work(_root(path), split, _FOLDERS[split], _ADE150)


def _full_root(path: Path) -> Path:
    return find_root(path, "ADE20K_2021_17_01", "ade/ADE20K_2021_17_01")


def _full_needs(path: Path, split: str) -> tuple[Need, ...]:
    root = _full_root(path)
    return (
        Need(root / "images_detectron2" / _FOLDERS[split], "images", prepared=True),
        Need(root / "annotations_detectron2" / _FOLDERS[split], "category maps", prepared=True),
    )


def _open_full(path: Path, split: str) -> ImageDataset:
    root = _full_root(path)
    maps = by_stem(root / "annotations_detectron2" / _FOLDERS[split], (".tif", ".tiff"))
    images: dict[ImageId, Path] = {
        name: root / "images_detectron2" / _FOLDERS[split] / f"{name}.jpg" for name in maps
    }
    semantic = SemanticMaps(maps, len(_ADE847), ignored=frozenset({65535}))
    return ImageDataset("ade847", split, _ADE847, images, semantic=semantic)


def _full_work(path: Path, split: str) -> Work:
    return ade_full.work(_full_root(path), split, _FOLDERS[split], _ADE847)


LAYOUTS = (
    Layout("ade150", "ADE20K, SceneParse150", "panoptic, instance, semantic", _needs, _open, _ADE150, _work),
    Layout("ade847", "ADE20K, full", "semantic", _full_needs, _open_full, _ADE847, _full_work),
)
