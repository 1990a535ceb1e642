"""Read the kinds of truth that a dataset has on disk, one image at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from odise_trt.coco_panoptic import read_ids
from odise_trt.errors import ImageError
from odise_trt.pictures.image_file import open_picture
from reference.errors import DatasetError

from . import run_lengths
from .example import IGNORED, Instance, PanopticSegment

ImageId = int | str


class PanopticPart(Protocol):
    """A source of panoptic maps."""

    def file(self, image_id: ImageId) -> Path:
        """Return the file of the map."""
        ...

    def read(self, image_id: ImageId) -> tuple[np.ndarray, tuple[PanopticSegment, ...]]:
        """Return the map int32 (H, W), with 0 for void, and its segments."""
        ...


@dataclass(frozen=True)
class PanopticMaps:
    """Maps in COCO's panoptic format: PNGs of ids, with rows about the segments.

    Attributes:
        folder: of the PNGs.
        rows: image id -> name of the PNG, and int32 (segments, 3): id, category, iscrowd. The category is
            `IGNORED` for segments to leave out.
    """

    folder: Path
    rows: Mapping[ImageId, tuple[str, np.ndarray]]

    def file(self, image_id: ImageId) -> Path:
        """See `PanopticPart`."""
        return self.folder / self.rows[image_id][0]

    def read(self, image_id: ImageId) -> tuple[np.ndarray, tuple[PanopticSegment, ...]]:
        """See `PanopticPart`.

        Raises:
            DatasetError: the map has ids without a row.
        """
        rows = self.rows[image_id][1]
        ids = read_ids(self.file(image_id))
        places = _places(ids, np.append(0, rows[:, 0]))
        if places.min(initial=0) < 0:
            listed = ", ".join(map(str, np.unique(ids[places < 0])[:5].tolist()))
            raise DatasetError(
                f"{self.file(image_id)} has segments that its JSON knows nothing of: {listed}",
                _why_unknown(ids, rows[:, 0]),
            )
        left_out = rows[:, 1] == IGNORED
        if left_out.any():
            ids = np.where(np.append(False, left_out)[places], np.int32(0), ids)
        kept = rows[~left_out].tolist()
        return ids, tuple(PanopticSegment(number, category, bool(crowd)) for number, category, crowd in kept)


@dataclass(frozen=True)
class SemanticMaps:
    """Label images of one channel.

    Attributes:
        files: image id -> its map.
        first: the value of category 0; values outside of `[first, first + categories)` must be in `ignored`.
        categories: number of categories.
        ignored: values that mean "no category".
    """

    files: Mapping[ImageId, Path]
    categories: int
    first: int = 0
    ignored: frozenset[int] = frozenset({255})

    def file(self, image_id: ImageId) -> Path:
        """Return the file of the map."""
        return self.files[image_id]

    def read(self, image_id: ImageId) -> np.ndarray:
        """Return the categories int32 (H, W), with `IGNORED` for no category.

        Raises:
            DatasetError: a value is neither a category nor ignored.
        """
        path = self.file(image_id)
        values = read_labels(path)
        categories = values - self.first
        outside = (categories < 0) | (categories >= self.categories)
        strange = np.setdiff1d(values[outside], list(self.ignored))
        if strange.size:
            listed = ", ".join(map(str, strange[:5].tolist()))
            raise DatasetError(
                f"{path} has labels that are no category: {listed}",
                f"they should be {self.first} to {self.first + self.categories - 1}, or "
                f"{', '.join(map(str, sorted(self.ignored)))} for none: was it prepared for another dataset?",
            )
        return np.where(outside, np.int32(IGNORED), categories)


@dataclass(frozen=True)
class InstanceMasks:
    """Polygons and run-length encodings, COCO's instance format.

    Attributes:
        path: of the JSON, for messages.
        rows: image id -> its annotations as JSON text, a list of `[category, iscrowd, segmentation]`. The
            text takes a tenth of the memory of Python objects.
    """

    path: Path
    rows: Mapping[ImageId, bytes]

    def read(self, image_id: ImageId, height: int, width: int) -> tuple[Instance, ...]:
        """Return the objects of an image of this size.

        Raises:
            DatasetError: a mask has another size.
        """
        found = json.loads(self.rows.get(image_id, b"[]"))
        try:
            return tuple(
                Instance(category, decode_segmentation(segmentation, height, width), bool(crowd))
                for category, crowd, segmentation in found
            )
        except DatasetError as error:
            place = f"image {image_id!r} of {self.path}"
            raise DatasetError(f"{place}: {error.message}", error.hint) from error


def decode_segmentation(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Decode polygons or run lengths (compressed or not) to a mask bool (H, W).

    Args:
        segmentation: of the form that `OBJECT` checks.
        height, width: of the image.

    Raises:
        DatasetError: the segmentation is of an image of another size.
    """
    if isinstance(segmentation, Mapping):
        high, wide = segmentation["size"]
        if (high, wide) != (height, width):
            raise DatasetError(
                f"a mask is {wide} x {high}, its image {width} x {height}",
                "the JSON is of other images, or these were resized or turned",
            )
        return run_lengths.decode(segmentation)
    # pycocotools would take two corners for a box.
    polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
    if not polygons:
        return np.zeros((height, width), dtype=bool)
    side = max(height, width)
    # Its memory grows with the length of an outline, which a typing error can make huge.
    far = next((x for polygon in polygons for x in polygon if not -side <= x <= 2 * side), None)
    if far is not None:
        raise DatasetError(
            f"an outline goes to {math.trunc(far)}, its image is {width} x {height}",
            "the JSON is of other images, or these were resized",
        )
    # COCO's own code decides which pixels are inside an outline.
    from pycocotools import mask as coco_mask

    drawn = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return run_lengths.decode({"size": drawn["size"], "counts": drawn["counts"].decode()})


def read_labels(path: Path) -> np.ndarray:
    """Read a label image of one channel (palette, or gray of 8, 16 or 32 bits) as int32 (H, W).

    Raises:
        ImageError: the file cannot be read, is damaged, or has several channels.
    """
    with open_picture(path, str(path)) as image:
        if image.mode not in ("L", "P", "I", "I;16", "I;16B", "I;16L", "1"):
            raise ImageError(
                f"{path} is no label image: its pixels are {image.mode}", "save it with one channel"
            )
        return np.asarray(image).astype(np.int32)


def semantic_from(ids: np.ndarray, segments: Sequence[PanopticSegment]) -> np.ndarray:
    """Return the categories of a panoptic map, int32 (H, W), with `IGNORED` for void."""
    known = np.array([0, *(segment.id for segment in segments)])
    categories = np.array([IGNORED, *(segment.category for segment in segments)], dtype=np.int32)
    return categories[_places(ids, known)]


def things_of(
    ids: np.ndarray, segments: Sequence[PanopticSegment], isthing: Sequence[bool]
) -> tuple[Instance, ...]:
    """Return the things of a panoptic map as objects."""
    return tuple(
        Instance(segment.category, ids == segment.id, segment.iscrowd)
        for segment in segments
        if isthing[segment.category]
    )


def _why_unknown(ids: np.ndarray, known: np.ndarray) -> str:
    """Return a hint about a map with unknown ids, from the way it was probably written."""
    found = np.unique(ids)
    if np.isin(found >> 16 | found & 0xFF00 | (found & 0xFF) << 16, [0, *known]).all():
        return "red and blue are exchanged, as OpenCV writes pictures: id = R + 256 G + 65536 B"
    if not (found % 0x010101).any():
        return "its pixels are gray, the same value in R, G and B: id = R + 256 G + 65536 B"
    return (
        "list them under `segments_info`, or give their pixels the id 0; a PNG whose colours stand for "
        "categories is no panoptic map, and PNGs and a JSON of different versions do not fit together"
    )


def _places(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the position of each id in `known`, int32 (H, W); -1 for unknown ids.

    A table over all ids gives the positions. Ids are below 2**24, and only the used pages of the table take
    memory.
    """
    table = np.zeros(int(max(ids.max(initial=0), known.max())) + 1, dtype=np.int32)
    table[known] = np.arange(1, len(known) + 1)
    return table[ids] - np.int32(1)
