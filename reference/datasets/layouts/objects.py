"""Datasets with objects only: LVIS, and UVO, whose objects have no category."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from odise_trt.vocabulary import Category, Vocabulary
from reference.errors import DatasetError

from ..annotations import ImageId
from ..coco_format import category_ids, category_indices, federations, instance_index, listed_images
from ..forms import ANY_OBJECT, IMAGE, LVIS_CATEGORY, LVIS_IMAGE, OBJECT, file_of_url
from ..images import FederatedDataset, ImageDataset
from ..json_rows import read_rows
from ..needs import Need, first_existing, is_file, require
from .base import Layout

_LVIS = Vocabulary.preset("lvis")
_UVO = Vocabulary((Category(("object",)),))
#: Usual folders of UVO's frames; the annotation names frames without a folder.
_FRAMES = ("images", "collect_{split}_images", "uvo_videos_sparse_frames", "uvo_videos_frames", "")


def _lvis_json(path: Path, split: str) -> Path:
    name = f"lvis_v1_{split}.json"
    return first_existing(
        path / "lvis" / name, path / name, path / "annotations" / name, path / "lvis/annotations" / name
    )


def _coco_images(path: Path, folders: Collection[str]) -> Path:
    """Return the place that has most of these folders."""
    places = [path / "coco", path, path / "lvis", path.parent / "coco", path.parent]
    return max(places, key=lambda place: sum(os.path.isdir(place / folder) for folder in folders))


def _lvis_needs(path: Path, split: str) -> tuple[Need, ...]:
    return (Need(_lvis_json(path, split), "objects"),)


def _open_lvis(path: Path, split: str) -> ImageDataset:
    file = _lvis_json(path, split)
    data = read_rows(file, images=LVIS_IMAGE, annotations=OBJECT, categories=LVIS_CATEGORY)
    indices = category_indices(data["categories"], _LVIS, file)
    frequency = {indices[row["id"]]: row["frequency"] for row in data["categories"]}
    names = {row["id"]: file_of_url(row["coco_url"]) for row in listed_images(data, file)}
    # Only the JSON tells the folders: most images of the validation split are from COCO's training split.
    folders = sorted({name.split("/")[0] for name in names.values()})
    root = _coco_images(path, folders)
    require("lvis", path, split, [Need(root / folder, "images of COCO") for folder in folders])
    images = {image_id: root / name for image_id, name in names.items()}
    return FederatedDataset(
        "lvis",
        split,
        _LVIS,
        images,
        instances=instance_index(data, file, indices),
        category_ids=category_ids(indices),
        frequency=tuple(frequency[index] for index in range(len(_LVIS))),
        federations=federations(data, file, indices),
    )


def _uvo_json(path: Path, split: str) -> Path:
    names = (f"UVO_frame_{split}.json", f"UVO_frame_{split}_onecat.json")
    folders = ("uvo", "", "FrameSet", "uvo/FrameSet", "annotations", "uvo/annotations")
    return first_existing(*(path / folder / name for folder in folders for name in names))


def _uvo_needs(path: Path, split: str) -> tuple[Need, ...]:
    return (Need(_uvo_json(path, split), "objects of the frame set"),)


def _open_uvo(path: Path, split: str) -> ImageDataset:
    file = _uvo_json(path, split)
    data = read_rows(file, images=IMAGE, annotations=ANY_OBJECT)
    files: dict[ImageId, str] = {row["id"]: row["file_name"] for row in listed_images(data, file)}
    if not files:
        raise DatasetError(f"{file} lists no frames")
    bases = [base for base in (path / "uvo", path, file.parent, file.parent.parent) if os.path.isdir(base)]
    folders = [base / frames.format(split=split) for base in bases for frames in _FRAMES]
    first = next(iter(files.values()))
    folder = next((folder for folder in folders if is_file(folder / first)), None)
    if folder is None:
        raise DatasetError(
            f"the frame {first} of {file} is nowhere below {path}",
            "extract the frames with the kit's video2frames.py into a folder `images` beside the JSON",
        )
    images = {image_id: folder / name for image_id, name in files.items()}
    return ImageDataset("uvo", split, _UVO, images, instances=instance_index(data, file, None))


LAYOUTS = (
    Layout("lvis", "LVIS v1", "instance", _lvis_needs, _open_lvis, _LVIS),
    Layout("uvo", "UVO frame set, objects without category", "recall", _uvo_needs, _open_uvo, _UVO),
)
