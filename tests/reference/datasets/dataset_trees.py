"""Miniature datasets in the layouts of their publishers, made for a test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from odise_trt.coco_panoptic import encode_ids
from odise_trt.vocabulary import Vocabulary

HEIGHT, WIDTH = 6, 8


def write_picture(path: Path, height: int = HEIGHT, width: int = WIDTH, value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (value, value, value)).save(path)


def write_array(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def halves(left: int, right: int, dtype: type = np.int32) -> np.ndarray:
    """One value in the left half, another in the right half."""
    array = np.full((HEIGHT, WIDTH), left, dtype)
    array[:, WIDTH // 2 :] = right
    return array


def category_rows(vocabulary: Vocabulary, first: int, step: int) -> list[dict[str, Any]]:
    """Categories as a JSON has them, with gaps between the ids."""
    return [
        {"id": first + step * index, "name": category.name, "isthing": int(category.isthing)}
        for index, category in enumerate(vocabulary)
    ]


def segment(number: int, category_id: int, iscrowd: int = 0) -> dict[str, int]:
    return {"id": number, "category_id": category_id, "iscrowd": iscrowd, "area": 1}


def panoptic_json(
    categories: Sequence[Mapping[str, Any]],
    segments: Mapping[Any, Sequence[Mapping[str, int]]],
    image_name: str = "{}.jpg",
    map_name: str = "{}.png",
) -> dict[str, Any]:
    return {
        "images": [
            {"id": image_id, "file_name": image_name.format(image_id), "height": HEIGHT, "width": WIDTH}
            for image_id in segments
        ],
        "annotations": [
            {"image_id": image_id, "file_name": map_name.format(image_id), "segments_info": rows}
            for image_id, rows in segments.items()
        ],
        "categories": categories,
    }


def coco_tree(root: Path) -> Path:
    """Two images: a person (id 300) beside the last category, and nothing but a crowd of persons (id 7).

    Category i has the id 10 + 2 i.
    """
    rows = category_rows(Vocabulary.preset("coco"), 10, 2)
    segments = {5: [segment(300, 10), segment(70000, 10 + 2 * 132)], 9: [segment(7, 10, iscrowd=1)]}
    data = panoptic_json(rows, segments)
    write_json(root / "annotations" / "panoptic_val2017.json", data)
    for image_id, ids in ((5, halves(300, 70000)), (9, halves(7, 0))):
        write_picture(root / "val2017" / f"{image_id}.jpg")
        write_array(root / "panoptic_val2017" / f"{image_id}.png", encode_ids(ids))
    return root


def own_tree(root: Path, names: Sequence[str] = ("one", "two")) -> Path:
    """Images with a cat on the left and grass on the right."""
    categories = [
        {"id": 7, "name": "grass", "isthing": 0, "synonyms": "lawn, meadow"},
        {"id": 3, "name": "cat", "isthing": 1, "synonyms": ["kitten"]},
    ]
    data = panoptic_json(categories, {name: [segment(1, 3), segment(2, 7)] for name in names})
    write_json(root / "panoptic.json", data)
    for name in names:
        write_picture(root / "images" / f"{name}.jpg")
        write_array(root / "panoptic" / f"{name}.png", encode_ids(halves(1, 2)))
    return root


def ade_tree(root: Path) -> Path:
    """As downloaded: a wall (1 of 150) on the left, nothing on the right; a bed (thing 1) in the top row."""
    for number in (1, 2):
        name = f"ADE_val_{number:08d}"
        write_picture(root / "images" / "validation" / f"{name}.jpg")
        write_array(root / "annotations" / "validation" / f"{name}.png", halves(1, 0, np.uint8))
        instances = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        instances[0] = (1, 4, 0)
        write_array(root / "annotations_instance" / "validation" / f"{name}.png", instances)
    return root


def city_tree(root: Path) -> Path:
    """Road (label 7), one car (26) with a number, a group of cars without, and the hood of the car (1)."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint16)
    ids[:, :2], ids[:, 2:4], ids[:, 4:6], ids[:, 6:] = 7, 26003, 26, 1
    for name in ("bonn_000001_000019", "ulm_000002_000019"):
        city = name.split("_")[0]
        write_picture(root / "leftImg8bit" / "val" / city / f"{name}_leftImg8bit.png")
        write_array(root / "gtFine" / "val" / city / f"{name}_gtFine_instanceIds.png", ids)
    return root


def scripts_json(root: Path, train_ids: bool = False) -> None:
    """The panoptic maps and JSON that cityscapesscripts' createPanopticImgs makes of a `city_tree`."""
    labels = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    numbers = {label: train_id if train_ids else label for train_id, label in enumerate(labels)}
    # Its labels and the vocabulary have the same names in the same order.
    categories = [
        {"id": numbers[label], "name": category.name, "isthing": int(category.isthing), "color": [0, 0, 0]}
        for label, category in zip(labels, Vocabulary.preset("cityscapes"), strict=True)
    ]
    segments = [segment(7, numbers[7]), segment(26, numbers[26], 1), segment(26003, numbers[26])]
    names = ("bonn_000001_000019", "ulm_000002_000019")
    data = panoptic_json(
        categories,
        dict.fromkeys(names, segments),
        "{}_gtFine_leftImg8bit.png",
        "{}_gtFine_panoptic.png",
    )
    maps = root / "gtFine" / "cityscapes_panoptic_val"
    write_json(maps.with_suffix(".json"), data)
    ids = np.zeros((HEIGHT, WIDTH), np.int32)
    ids[:, :2], ids[:, 2:4], ids[:, 4:6] = 7, 26003, 26
    for name in names:
        write_array(maps / f"{name}_gtFine_panoptic.png", encode_ids(ids))


def vistas_tree(root: Path, version: str = "v1.2") -> Path:
    labels = [
        {"name": "animal--bird", "readable": "Bird", "instances": True},
        {"name": "marking--general", "readable": "Lane Marking - General", "instances": False},
        {"name": "object--traffic-sign--front", "readable": "Traffic Sign (Front)", "instances": True},
        {"name": "void--unlabeled", "readable": "Unlabeled", "instances": False},
    ]
    categories = [
        {"id": number, "name": label["name"], "isthing": int(label["instances"])}
        for number, label in enumerate(labels[:3], 1)
    ]
    folder = root / "validation" / version / "panoptic"
    data = panoptic_json(categories, {"a": [segment(11, 2), segment(12, 3)]})
    write_json(folder / "panoptic_2018.json", data)
    write_array(folder / "a.png", encode_ids(halves(11, 12)))
    write_picture(root / "validation" / "images" / "a.jpg")
    write_json(root / "config_v1.2.json", {"labels": labels, "version": 1.2})
    return root


def voc_tree(root: Path, year: str) -> Path:
    """VOCdevkit with two images: "a" is for training, "b" for validation."""
    folder = root / "VOCdevkit" / year
    for name in "ab":
        write_picture(folder / "JPEGImages" / f"{name}.jpg")
    for kind in ("Main", "Segmentation"):
        (folder / "ImageSets" / kind).mkdir(parents=True)
        (folder / "ImageSets" / kind / "train.txt").write_text("a\n")
        (folder / "ImageSets" / kind / "val.txt").write_text("b\n")
    return folder
