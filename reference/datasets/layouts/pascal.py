"""PASCAL VOC 2012 with background, and PASCAL Context on VOC 2010 with 59 or 459 categories.

Two layouts are in use. The official ODISE has `pascal_ctx_d2` and `pascal_voc_d2` with images and maps by
split; the other is `annotations_detectron2` inside VOCdevkit. Both are read. `prepare` makes the second one,
because it copies no images.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from odise_trt.vocabulary import Vocabulary

from ..annotations import ImageId, SemanticMaps
from ..images import ImageDataset, by_stem
from ..needs import Need, find_root, first_existing, is_there, names_of
from ..prepare import pascal_context
from ..prepare.convert import Work
from .base import Layout

_FOLDERS = {"train": "training", "val": "validation"}


@dataclass(frozen=True)
class _Task:
    """One of the three datasets.

    Attributes:
        name: of the dataset.
        year: its folder in VOCdevkit.
        maps: name of its folder in `annotations_detectron2`, without the split.
        split_root, split_maps: the dataset's folder and its folder of maps in the layout by split.
        suffix: of the maps.
        ignored: value of the maps for no category.
    """

    name: str
    year: str
    maps: str
    split_root: str
    split_maps: str
    suffix: str
    ignored: int

    def folders(self, path: Path, split: str) -> tuple[Path, Path]:
        """Images and maps."""
        root = find_root(path, self.split_root)
        by_split = root / self.split_maps / _FOLDERS[split]
        if is_there(by_split):
            return root / "images" / _FOLDERS[split], by_split
        voc = self.voc(path)
        return voc / "JPEGImages", voc / "annotations_detectron2" / f"{self.maps}_{split}"

    def voc(self, path: Path) -> Path:
        """The year's folder of VOCdevkit."""
        return find_root(path, f"VOCdevkit/{self.year}", self.year)

    def needs(self, path: Path, split: str) -> tuple[Need, ...]:
        """See `Layout`."""
        images, maps = self.folders(path, split)
        return Need(images, "images"), Need(maps, "category maps", prepared=self.year == "VOC2010")

    def open(self, path: Path, split: str) -> ImageDataset:
        """See `Layout`."""
        images, maps = self.folders(path, split)
        files = by_stem(maps, (self.suffix,))
        return self.dataset(split, {name: images / f"{name}.jpg" for name in files}, files)

    def dataset(
        self, split: str, images: Mapping[ImageId, Path], maps: Mapping[ImageId, Path]
    ) -> ImageDataset:
        """These images with these maps."""
        vocabulary = Vocabulary.preset(self.name)
        semantic = SemanticMaps(maps, len(vocabulary), ignored=frozenset({self.ignored}))
        return ImageDataset(self.name, split, vocabulary, images, semantic=semantic)


_PC59 = _Task("pc59", "VOC2010", "pc59", "pascal_ctx_d2", "annotations_ctx59", ".png", 255)
_PC459 = _Task("pc459", "VOC2010", "pc459", "pascal_ctx_d2", "annotations_ctx459", ".tif", 65535)
_VOC21 = _Task("voc21", "VOC2012", "pascal21", "pascal_voc_d2", "annotations_pascal21", ".png", 255)


def _voc_needs(path: Path, split: str) -> tuple[Need, ...]:
    prepared = _VOC21.needs(path, split)
    if os.path.isdir(prepared[1].path):
        return prepared
    root = _VOC21.voc(path)
    return (
        Need(root / "JPEGImages", "images"),
        Need(root / "SegmentationClass", "category maps"),
        Need(root / "ImageSets" / "Segmentation" / f"{split}.txt", "names of the images"),
    )


def _open_voc(path: Path, split: str) -> ImageDataset:
    """Open VOC's own maps, which need no conversion: the palette index is the category, 255 the border."""
    if os.path.isdir(_VOC21.folders(path, split)[1]):
        return _VOC21.open(path, split)
    root = _VOC21.voc(path)
    listed = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    names = names_of(listed)
    return _VOC21.dataset(
        split,
        {name: root / "JPEGImages" / f"{name}.jpg" for name in names},
        {name: root / "SegmentationClass" / f"{name}.png" for name in names},
    )


def _context_work(task: _Task, path: Path, split: str) -> Work:
    root = task.voc(path)
    target = root / "annotations_detectron2" / f"{task.maps}_{split}"
    names = first_existing(
        root / "ImageSets" / "Main" / f"{split}.txt", root / "ImageSets" / "Segmentation" / f"{split}.txt"
    )
    return pascal_context.work(
        root, split, names, target, Vocabulary.preset("pc459"), all_categories=task is _PC459
    )


LAYOUTS = (
    Layout(
        "pc59",
        "PASCAL Context, 59 categories",
        "semantic",
        _PC59.needs,
        _PC59.open,
        Vocabulary.preset("pc59"),
        partial(_context_work, _PC59),
    ),
    Layout(
        "pc459",
        "PASCAL Context, 459 categories",
        "semantic",
        _PC459.needs,
        _PC459.open,
        Vocabulary.preset("pc459"),
        partial(_context_work, _PC459),
    ),
    Layout(
        "voc21",
        "PASCAL VOC 2012 and background",
        "semantic",
        _voc_needs,
        _open_voc,
        Vocabulary.preset("voc21"),
    ),
)
