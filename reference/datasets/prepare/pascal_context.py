"""Make the label images of PASCAL Context from the publisher's `.mat` files.

Their `LabelMap` numbers 459 categories from 1, in the order of `labels.txt`; 0 is no category. The 59
categories are a subset; pixels of the other 400 get no category.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from odise_trt.pictures.encode import image_bytes
from odise_trt.vocabulary import Vocabulary
from reference.errors import DatasetError

from ..needs import Need, first_existing, is_file, names_of, require, text_of
from .convert import Job, Made, Work

_NUMBERS_59 = """
    2 9 18 19 22 23 25 31 33 34 44 45 46 59 65 68 72 80 85 98
    104 105 113 115 144 158 159 162 187 189 207 220 232 258 259 260 284 295 296 308
    324 326 347 349 354 355 360 366 368 397 415 416 420 424 427 440 445 454 458
"""
#: The 59 categories, as numbers in `LabelMap`.
LABELS_59 = tuple(map(int, _NUMBERS_59.split()))
#: The publisher's names of three categories that have clearer names in the vocabulary. The names in the
#: vocabulary are those of OpenSeg, which the official ODISE uses.
_PUBLISHED = {62: ("case",), 232: ("light",), 458: ("wood",)}


def work(
    root: Path, split: str, names: Path, target: Path, full: Vocabulary, *, all_categories: bool
) -> Work:
    """Return the work that makes the label images of a split.

    Args:
        root: VOC2010, with `trainval/*.mat`.
        split: for messages.
        names: the file that lists the images of the split.
        target: the folder of the label images.
        full: the 459 categories.
        all_categories: True: 459 categories as 16-bit TIFF; False: 59 as 8-bit PNG.

    Raises:
        DatasetError: a source is missing, or `labels.txt` has another order of categories.
    """
    mats = root / "trainval"
    require(
        "pc459" if all_categories else "pc59",
        root,
        split,
        [Need(names, "names of the images"), Need(mats, "*.mat of PASCAL Context")],
    )
    _check_order(first_existing(root / "labels.txt", mats / "labels.txt"), full)
    suffix, table = (".tif", _table_459()) if all_categories else (".png", _table_59())
    jobs = []
    for name in names_of(names):
        made = target / f"{name}{suffix}"
        jobs.append(Job(name, (made,), partial(_convert, mats / f"{name}.mat", made, table)))
    return Work(jobs, target)


def _check_order(labels: Path, full: Vocabulary) -> None:
    """Check the lines `12: balloon`. The publisher offers this file separately, so it may be missing."""
    if not is_file(labels):
        return
    for line in text_of(labels).splitlines():
        match = re.fullmatch(r"\s*(\d+)\s*:\s*(.*?)\s*", line)
        if match is None or int(match[1]) == 0:
            continue
        number = int(match[1])
        ours = full[number - 1].names if number <= len(full) else ()
        if _plain(match[2]) not in map(_plain, (*ours, *_PUBLISHED.get(number, ()))):
            raise DatasetError(
                f"{labels} calls category {number} {match[2]!r}, which it is not in the vocabulary pc459",
                "the annotation is of another version; bring the prepared folder `annotations_detectron2`",
            )


def _plain(name: str) -> str:
    """Return a name without blanks: the publisher writes "airconditioner"."""
    return name.replace(" ", "").lower()


def _table_459() -> np.ndarray:
    table = np.full(460, 65535, dtype=np.uint16)
    table[1:] = np.arange(459)
    return table


def _table_59() -> np.ndarray:
    table = np.full(460, 255, dtype=np.uint8)
    table[list(LABELS_59)] = np.arange(59)
    return table


def _convert(source: Path, target: Path, table: np.ndarray) -> Made:
    from scipy.io import loadmat

    try:
        labels = loadmat(source)["LabelMap"]
    # scipy can raise any exception for a damaged file.
    except Exception as error:
        raise DatasetError(f"{source} cannot be read: {error}", "unpack trainval.tar.gz again") from error
    if not isinstance(labels, np.ndarray) or labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise DatasetError(
            f"{source} has a LabelMap that is not an array of whole numbers", "unpack trainval.tar.gz again"
        )
    strange = labels[(labels < 0) | (labels >= len(table))]
    if strange.size:
        raise DatasetError(f"{source} has the label {strange[0]}, but labels end at {len(table) - 1}")
    return Made({target: image_bytes(table[labels], "TIFF" if table.dtype == np.uint16 else "PNG")})
