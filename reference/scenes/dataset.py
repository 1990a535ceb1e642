"""Write scenes as a dataset in COCO's panoptic format with captions, for `open_dataset("panoptic", ...)`."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from odise_trt.cli.progress import followed
from odise_trt.coco_panoptic import encode_ids
from odise_trt.errors import OutputError, hint_for
from odise_trt.files.output import prepare_folder
from odise_trt.files.writing import put_in_place, unfinished_folder, writing

from .captions import describe
from .scene import SCENE_VOCABULARY, Scene, make_scene

#: Seeds from here on are held out for evaluation: no training draws them.
FIRST_HELD_OUT = 1_000_000
#: Captions per scene; COCO has five.
_CAPTIONS = 2
_CAPTIONS_FILE, _SEGMENTS_FILE = "captions.json", "panoptic.json"
_PARTS = ("images", "panoptic", _CAPTIONS_FILE, _SEGMENTS_FILE)


def write_dataset(
    folder: Path,
    count: int,
    height: int = 256,
    width: int = 256,
    *,
    first_seed: int = 0,
    without: Collection[str] = (),
) -> None:
    """Draw scenes into `images/`, `panoptic/`, `panoptic.json` and `captions.json`.

    They get their names when all are drawn: a folder with them is complete.

    Args:
        folder: created if it does not exist; other files in it stay.
        count: number of scenes.
        height, width: of a scene in pixels.
        first_seed: seed of the first scene; the id of an image is its seed.
        without: names of things to omit.

    Raises:
        OutputError: the folder has a dataset or a part of one, or cannot be written to.
    """
    if count < 1:
        raise OutputError(f"a dataset of {count} scenes is none", "draw at least one")
    _check_free(folder)
    prepare_folder(folder)
    with writing(folder, _hint), unfinished_folder(folder) as unfinished:
        for part in ("images", "panoptic"):
            (unfinished / part).mkdir(parents=True)
        about, said = _draw(unfinished, range(first_seed, first_seed + count), height, width, without)
        for name, content in ((_CAPTIONS_FILE, said), (_SEGMENTS_FILE, about)):
            (unfinished / name).write_text(json.dumps(content), encoding="utf-8")
        _check_free(folder)
        # The JSON about all scenes comes last: a folder that has it is complete.
        for name in _PARTS:
            put_in_place(unfinished / name, folder / name)


def _hint(error: OSError) -> str:
    return hint_for(error) or "choose another folder"


def _check_free(folder: Path) -> None:
    there = [name for name in _PARTS if os.path.lexists(folder / name)]
    if _SEGMENTS_FILE in there:
        raise OutputError(f"{folder} holds a dataset already", "remove it, or give another folder")
    if there:
        raise OutputError(
            f"{folder} has {' and '.join(there)} already, which a dataset would be written to",
            "move it away, or give another folder",
        )


def _draw(
    folder: Path, seeds: range, height: int, width: int, without: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw scenes into a folder; return the contents of `panoptic.json` and of `captions.json`."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    for seed in followed(seeds, f"drawing {len(seeds)} scenes", len(seeds)):
        scene, name = make_scene(seed, height, width, without=without), f"{seed:07}.png"
        Image.fromarray(scene.image).save(folder / "images" / name)
        Image.fromarray(encode_ids(scene.panoptic)).save(folder / "panoptic" / name)
        images.append({"id": seed, "file_name": name, "height": height, "width": width})
        annotations.append({"image_id": seed, "file_name": name, "segments_info": _segments(scene)})
        rng = np.random.default_rng((seed, 1))
        seen = [segment.category_id for segment in scene.segments]
        captions += [
            {"id": len(captions) + n, "image_id": seed, "caption": describe(seen, SCENE_VOCABULARY, rng)}
            for n in range(_CAPTIONS)
        ]
    about = {"images": images, "annotations": annotations, "categories": _categories()}
    return about, {"images": images, "annotations": captions}


def _segments(scene: Scene) -> list[dict[str, Any]]:
    return [
        {
            "id": segment.id,
            "category_id": segment.category_id + 1,
            "area": segment.area,
            "bbox": list(segment.bbox),
            "iscrowd": 0,
        }
        for segment in scene.segments
    ]


def _categories() -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "name": category.name,
            "isthing": int(category.isthing),
            "synonyms": list(category.names[1:]),
        }
        for number, category in enumerate(SCENE_VOCABULARY.categories, 1)
    ]
