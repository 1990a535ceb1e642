"""A dataset of images on disk, composed of the kinds of truth that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from odise_trt.errors import hint_for, reason
from odise_trt.preprocess import load_image
from odise_trt.vocabulary import Vocabulary
from reference.errors import DatasetError

from .annotations import ImageId, InstanceMasks, PanopticPart, SemanticMaps, semantic_from, things_of
from .example import Example, Federation, PanopticSegment
from .orientation import orientation_of, swaps_sides


class ImageDataset:
    """Images with their truth, read one at a time. Only the index is kept in memory.

    Semantic maps and objects that are not given are derived from panoptic maps.

    Attributes:
        name, vocabulary: see `Dataset`.
        split: "train" or "val".
        category_ids: the ids of the categories in the dataset's JSON, in the order of the vocabulary;
            official tools score files with these ids. None: the dataset has no such JSON.

    Args:
        images: image id -> file.
        panoptic, semantic, instances, captions: the kinds of truth that the dataset has.

    Raises:
        DatasetError: there are no images.
    """

    def __init__(
        self,
        name: str,
        split: str,
        vocabulary: Vocabulary,
        images: Mapping[ImageId, Path],
        *,
        panoptic: PanopticPart | None = None,
        semantic: SemanticMaps | None = None,
        instances: InstanceMasks | None = None,
        captions: Mapping[ImageId, tuple[str, ...]] | None = None,
        category_ids: tuple[int, ...] | None = None,
    ) -> None:
        if not images:
            raise DatasetError(
                f"the dataset {name} has no images in {split}", "docs/datasets.md has the layout"
            )
        self.name = name
        self.split = split
        self.vocabulary = vocabulary
        self.category_ids = category_ids
        self._ids = tuple(images)
        self._images = images
        self._panoptic = panoptic
        self._semantic = semantic
        self._instances = instances
        self._captions = captions or {}

    def __len__(self) -> int:
        return len(self._ids)

    def image_id(self, index: int) -> ImageId:
        """Return `Example.image_id` without reading the image."""
        return self._ids[index]

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the files of an image: the image itself, then its maps."""
        image_id = self._ids[index]
        maps = [part.file(image_id) for part in (self._panoptic, self._semantic) if part is not None]
        return self._images[image_id], *maps

    def __getitem__(self, index: int) -> Example:
        """Read one image with its truth.

        Raises:
            ImageError: a file cannot be read.
            DatasetError: the files of the image contradict each other.
        """
        image_id = self._ids[index]
        image = load_image(self._images[image_id])
        height, width = image.shape[:2]
        panoptic: np.ndarray | None = None
        segments: tuple[PanopticSegment, ...] = ()
        if self._panoptic is not None:
            panoptic, segments = self._panoptic.read(image_id)
            self._check_size(image_id, image, panoptic, self._panoptic.file(image_id))
        semantic = None
        if self._semantic is not None:
            semantic = self._semantic.read(image_id)
            self._check_size(image_id, image, semantic, self._semantic.file(image_id))
        elif panoptic is not None:
            semantic = semantic_from(panoptic, segments)
        instances = None
        if self._instances is not None:
            instances = self._instances.read(image_id, height, width)
        elif panoptic is not None:
            instances = things_of(panoptic, segments, self.vocabulary.isthing)
        return Example(
            image_id=image_id,
            image=image,
            panoptic=panoptic,
            segments=segments,
            semantic=semantic,
            instances=instances,
            captions=self._captions.get(image_id, ()),
        )

    def orientation(self, index: int) -> int:
        """Return the EXIF orientation of an image; see `reference.datasets.orientation`."""
        return orientation_of(self._images[self._ids[index]])

    def _check_size(self, image_id: ImageId, image: np.ndarray, truth: np.ndarray, path: Path) -> None:
        (height, width), (high, wide) = image.shape[:2], truth.shape
        if (height, width) == (high, wide):
            return
        message = f"{path} is {wide} x {high}, its image {width} x {height}"
        orientation = orientation_of(self._images[image_id])
        if (height, width) == (wide, high) and swaps_sides(orientation):
            raise DatasetError(
                f"{message} as it is shown: EXIF turns the image (orientation {orientation}), and the map is "
                "of the picture as it is stored",
                "turn the map, too, or save the image turned and without EXIF; see docs/datasets.md",
            )
        raise DatasetError(message, "one of the two was resized, or they belong to different images")


def by_stem(folder: Path, suffixes: Sequence[str]) -> dict[ImageId, Path]:
    """Return the files of a folder with these suffixes, sorted: name without suffix -> file.

    Raises:
        DatasetError: the folder cannot be read, or two files have the same name without suffix.
    """
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read: {reason(error)}", hint_for(error)) from error
    files: dict[ImageId, Path] = {}
    for path in found:
        if path.name.startswith("."):
            continue
        if path.stem in files:
            raise DatasetError(
                f"{files[path.stem]} and {path.name} are two files of one image", "remove one of the two"
            )
        files[path.stem] = path
    return files


class FederatedDataset(ImageDataset):
    """Images that were each annotated for some of the categories only (LVIS).

    Attributes:
        frequency: "r" (rare), "c" (common) or "f" (frequent) for each category.

    Args:
        frequency: see above.
        federations: image id -> the categories that were annotated in it.
        others, named: see `ImageDataset`.
    """

    def __init__(
        self,
        *others: Any,
        frequency: tuple[str, ...],
        federations: Mapping[ImageId, Federation],
        **named: Any,
    ) -> None:
        super().__init__(*others, **named)
        self.frequency = frequency
        self._federations = federations

    def federation(self, index: int) -> Federation:
        """Return which categories were annotated in an image."""
        return self._federations[self.image_id(index)]
