"""Make the label images of the full ADE20K: 847 evaluated categories, of about 3,700 in the data.

`*_seg.png` holds a category's number in the index of the dataset (R / 10 * 256 + G, from 1).
`ade847_index.txt` lists the numbers and names of the 847 categories in their order; the names must agree with
the index of the data.

As in the official preparation, images with a shorter side over 512 pixels are shrunk to 512: images
bilinearly without antialiasing, maps by nearest neighbour.
"""

from __future__ import annotations

import pickle
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from odise_trt.errors import reason
from odise_trt.interpolate import resize_bilinear
from odise_trt.pictures.encode import image_bytes
from odise_trt.preprocess import load_image
from odise_trt.vocabulary import Vocabulary
from reference.errors import DatasetError

from ..needs import Need, require
from .ade_panoptic import read_rgb
from .convert import Job, Made, Work

_SHORT_SIDE = 512
_NONE = 65535
_KEYS = ("filename", "folder", "objectnames")
_BRING = "bring the prepared folders images_detectron2 and annotations_detectron2"


def work(root: Path, split: str, folder: str, vocabulary: Vocabulary) -> Work:
    """Return the work that makes `images_detectron2` and `annotations_detectron2` of a split.

    Args:
        root: ADE20K_2021_17_01.
        folder: "training" or "validation".

    Raises:
        DatasetError: a source is missing, or the index has other categories.
    """
    index_file = root / "index_ade20k.pkl"
    require("ade847", root, split, [Need(root / "images", "images, by scene"), Need(index_file, "index")])
    index = read_index(index_file)
    table = category_table(index["objectnames"], vocabulary, index_file)
    images, maps = root / "images_detectron2" / folder, root / "annotations_detectron2" / folder
    jobs = []
    for scene, name in zip(index["folder"], index["filename"], strict=True):
        if name.startswith("ADE_val") == (split == "val"):
            # The folders in the index begin with the dataset's own folder.
            source = root.joinpath(*Path(scene).parts[1:]) / name
            stem = Path(name).stem
            targets = images / f"{stem}.jpg", maps / f"{stem}.tif"
            jobs.append(Job(stem, targets, partial(_convert, source, *targets, table)))
    return Work(jobs, maps)


def numbers() -> tuple[tuple[int, str], ...]:
    """Return index number and name of the 847 categories, in the order of the vocabulary."""
    text = (files(__package__) / "ade847_index.txt").read_text(encoding="utf-8")
    rows = [line.split(maxsplit=1) for line in text.splitlines() if not line.startswith("#")]
    return tuple((int(number), name) for number, name in rows)


def category_table(names: Any, vocabulary: Vocabulary, path: Path) -> np.ndarray:
    """Return the table uint16 (6656,) from index number to category; 65535 for other numbers.

    Args:
        names: of all categories of the data; the first has the number 1.
        vocabulary: the 847 categories.
        path: of the index, for messages.

    Raises:
        DatasetError: a category has another name in the data.
    """
    known = numbers()
    assert len(known) == len(vocabulary)
    # A value of a map is at most 25 * 256 + 255.
    table = np.full(26 * 256, _NONE, dtype=np.uint16)
    for category, (number, name) in enumerate(known):
        theirs = str(names[number - 1]) if number <= len(names) else "nothing"
        if name not in (part.strip() for part in theirs.split(",")):
            raise DatasetError(
                f"category {number} of {path} is {theirs!r}; in the version that the 847 categories were "
                f"chosen from it is {name!r}",
                _BRING,
            )
        table[number] = category
    return table


def _convert(source: Path, image_target: Path, map_target: Path, table: np.ndarray) -> Made:
    image = load_image(source)
    colors = read_rgb(source.with_name(f"{source.stem}_seg.png"))
    if colors.shape != image.shape:
        raise DatasetError(f"{source} and its map differ in size", "unpack both again")
    labels = table[(colors[..., 0] // 10).astype(np.int64) * 256 + colors[..., 1]]
    height, width = image.shape[:2]
    if min(height, width) > _SHORT_SIDE:
        scale = _SHORT_SIDE / min(height, width)
        high, wide = round(height * scale), round(width * scale)
        planes = resize_bilinear(image.transpose(2, 0, 1).astype(np.float32), high, wide)
        image = np.rint(planes).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
        rows, columns = np.arange(high) * height // high, np.arange(wide) * width // wide
        labels = labels[rows[:, None], columns]
    # Pillow's default quality, which the official preparation uses.
    jpeg = image_bytes(np.ascontiguousarray(image), "JPEG", quality=75)
    return Made({image_target: jpeg, map_target: image_bytes(labels, "TIFF")})


class _Plain(pickle.Unpickler):
    """Loads lists and arrays only: a downloaded pickle could run any code."""

    _allowed = frozenset(
        {("numpy", "ndarray"), ("numpy", "dtype")}
        | {
            (f"{core}.multiarray", name)
            for core in ("numpy.core", "numpy._core")
            for name in ("_reconstruct", "scalar")
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"it wants {module}.{name}")
        return super().find_class(module, name)


def read_index(path: Path) -> dict[str, Any]:
    """Read the index of the dataset without running code in it.

    Raises:
        DatasetError: the file cannot be read, or is not such an index.
    """
    try:
        with path.open("rb") as file:
            index = _Plain(file).load()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {reason(error)}", _BRING) from error
    # A damaged pickle can raise any exception.
    except Exception as error:
        raise DatasetError(f"{path} cannot be read: {error}", _BRING) from error
    gone = [key for key in _KEYS if not isinstance(index, dict) or key not in index]
    if gone:
        raise DatasetError(f"{path} has no {', '.join(gone)}", _BRING)
    for key in _KEYS:
        if not isinstance(index[key], list | np.ndarray) or not all(
            isinstance(one, str) for one in index[key]
        ):
            raise DatasetError(f"{path} has values of {key} that are not texts", _BRING)
    if len(index["filename"]) != len(index["folder"]):
        raise DatasetError(f"{path} has different numbers of files and folders", _BRING)
    return index
