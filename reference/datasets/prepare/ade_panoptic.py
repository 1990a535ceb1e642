"""Make panoptic maps of SceneParse150 (ADE20K) from category maps and instance maps.

The rules are those of Mask2Former's script, with which published numbers were made. Stuff comes from
`annotations`, and things from `annotations_instance` cover it. A thing that only the category map has is
void. A stuff segment keeps its row even if things cover all of it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from odise_trt.coco_panoptic import segment_row
from odise_trt.errors import ImageError
from odise_trt.pictures.image_file import open_picture
from odise_trt.vocabulary import Vocabulary
from reference.errors import DatasetError

from ..annotations import read_labels
from ..images import by_stem
from ..needs import Need, require
from .convert import Job, Made, Row, Work
from .encode import category_rows, map_bytes


def work(root: Path, split: str, folder: str, vocabulary: Vocabulary) -> Work:
    """Return the work that makes `ade20k_panoptic_{split}` and its JSON.

    Args:
        root: ADEChallengeData2016.
        folder: "training" or "validation".

    Raises:
        DatasetError: a source is missing.
    """
    images, semantic = root / "images" / folder, root / "annotations" / folder
    instances = root / "annotations_instance" / folder
    require(
        "ade150",
        root,
        split,
        [Need(images, "images"), Need(semantic, "category maps"), Need(instances, "instance maps")],
    )
    target = root / f"ade20k_panoptic_{split}"
    # Instance maps number only the 100 things, in the order of the 150 categories.
    things = [index for index, isthing in enumerate(vocabulary.isthing) if isthing]
    jobs = [
        Job(
            str(name),
            (target / f"{name}.png",),
            partial(_convert, path, semantic, instances, target, things, vocabulary.isthing),
        )
        for name, path in by_stem(images, (".jpg",)).items()
    ]
    return Work(jobs, target.with_suffix(".json"), partial(_summarize, vocabulary))


def panoptic(
    semantic: np.ndarray, instances: np.ndarray, things: list[int], isthing: tuple[bool, ...], name: str
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Return the panoptic map int32 (H, W) and the rows about its segments.

    Args:
        semantic: int (H, W), categories from 1, 0: no category.
        instances: uint8 (H, W, 3): category of the thing from 1, number of the object from 1.
        things: index of each thing in the 150 categories.
        isthing: per category.
        name: of the image, for messages.

    Raises:
        DatasetError: the sizes differ, or a category does not exist.
    """
    if semantic.shape != instances.shape[:2]:
        raise DatasetError(
            f"the category map and the instance map of {name} differ in size", "unpack both again"
        )
    if semantic.max() > len(isthing):
        raise DatasetError(
            f"the category map of {name} has category {semantic.max()}, but there are {len(isthing)}"
        )
    ids = np.zeros(semantic.shape, dtype=np.int32)
    rows: list[dict[str, Any]] = []
    for value in np.unique(semantic).tolist():
        if value and not isthing[value - 1]:
            mask = semantic == value
            rows.append(segment_row(len(rows) + 1, value - 1, mask))
            ids[mask] = len(rows)
    for value in np.unique(instances[..., 1]).tolist():
        if not value:
            continue
        mask = instances[..., 1] == value
        kinds = np.unique(instances[..., 0][mask]).tolist()
        if len(kinds) != 1 or not 1 <= kinds[0] <= len(things):
            raise DatasetError(f"object {value} in the instance map of {name} is of the kinds {kinds}")
        rows.append(segment_row(len(rows) + 1, things[kinds[0] - 1], mask))
        ids[mask] = len(rows)
    return ids, rows


def _convert(
    image: Path,
    semantic: Path,
    instances: Path,
    target: Path,
    things: list[int],
    isthing: tuple[bool, ...],
) -> Made:
    name = image.stem
    ids, rows = panoptic(
        read_labels(semantic / f"{name}.png"), read_rgb(instances / f"{name}.png"), things, isthing, name
    )
    height, width = ids.shape
    row: Row = {
        "image": {"id": name, "file_name": image.name, "height": height, "width": width},
        "annotation": {"image_id": name, "file_name": f"{name}.png", "segments_info": rows},
    }
    return Made({target / f"{name}.png": map_bytes(ids)}, row)


def read_rgb(path: Path) -> np.ndarray:
    """Read an instance map, or a map of the full dataset, as uint8 (H, W, 3).

    Raises:
        ImageError: the file cannot be read, or its pixels are not RGB.
    """
    with open_picture(path, str(path)) as image:
        if image.mode != "RGB":
            raise ImageError(
                f"{path} is no instance map: its pixels are {image.mode}, not RGB", "unpack it again"
            )
        return np.asarray(image)


def _summarize(vocabulary: Vocabulary, rows: list[Row]) -> dict[str, Any]:
    return {
        "images": [row["image"] for row in rows],
        "annotations": [row["annotation"] for row in rows],
        "categories": category_rows(vocabulary),
    }
