"""Scenes as a dataset on disk, in COCO's panoptic format with captions: `open_dataset("panoptic", ...)`."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.progress import track

from odise_trt.coco_panoptic import encode_ids
from odise_trt.errors import OutputError
from odise_trt.output import write_together

from .captions import describe
from .scene import SCENE_VOCABULARY, Scene, make_scene

#: Seeds from here on are for evaluation; the demo model never saw them in training.
FIRST_HELD_OUT = 1_000_000
#: Captions per scene; COCO has five.
_CAPTIONS = 2


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

    The two JSON files are written last: a folder that has them is complete.

    Args:
        folder: made if need be.
        count: how many.
        height, width: of a scene in pixels.
        first_seed: seed of the first; ids of the images are their seeds.
        without: names of things to leave out.

    Raises:
        OutputError: there is a dataset already, or the folder cannot be written to.
    """
    if (folder / "panoptic.json").exists():
        raise OutputError(f"{folder} holds a dataset already", "remove it, or give another folder")
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    try:
        for part in ("images", "panoptic"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for seed in track(range(first_seed, first_seed + count), f"drawing {count} scenes"):
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
    except OSError as error:
        raise OutputError(f"{folder} cannot be written to: {error}", "choose another folder") from error
    about = {"images": images, "annotations": annotations, "categories": _categories()}
    said = {"images": images, "annotations": captions}
    files = {"captions.json": said, "panoptic.json": about}
    write_together(folder, {name: json.dumps(content).encode() for name, content in files.items()})


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
