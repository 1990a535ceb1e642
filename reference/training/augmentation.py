"""Large scale jittering: from an example to a training image of fixed size, with its truth.

The steps are those of detectron2's `RandomFlip`, `ResizeScale` and `FixedSizeCrop` in the official
configuration. The image is flipped with probability 1/2. It is scaled to fit into a box of `scale` times the
size, with its aspect ratio. It is cropped at random, with one random number for both axes. If it is smaller
than the size, it is padded with grey at the bottom and right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from reference.datasets.example import IGNORED, Example
from reference.losses.batch import Target

#: Value of all channels outside the image (detectron2's default).
PADDING = 128


@dataclass(frozen=True)
class Jitter:
    """The random numbers of one augmentation.

    Attributes:
        flip: mirror the image horizontally.
        scale: of the box into which the image is fitted.
        crop: position of the crop, from 0 (top left) to 1 (bottom right).
    """

    flip: bool
    scale: float
    crop: float

    @classmethod
    def draw(cls, random: np.random.Generator, scales: tuple[float, float]) -> Jitter:
        """Draw from the distribution of the recipe."""
        return cls(bool(random.random() < 0.5), float(random.uniform(*scales)), float(random.random()))

    def image(self, image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """Augment an image: uint8 (H, W, 3) to (size, size, 3), bilinear, with antialiasing if it shrinks."""
        height, width = self._scaled(image.shape[:2], size)
        top, left = self._corner((height, width), size)
        if self.flip:
            image = image[:, ::-1]
        scaled = Image.fromarray(np.ascontiguousarray(image)).resize(
            (width, height), Image.Resampling.BILINEAR
        )
        part = np.asarray(scaled)[top : top + size, left : left + size]
        canvas = np.full((size, size, 3), PADDING, np.uint8)
        canvas[: part.shape[0], : part.shape[1]] = part
        return canvas

    def map(self, values: NDArray[Any], size: int, outside: int) -> NDArray[Any]:
        """Augment maps: (..., H, W) to (..., size, size), nearest, with `outside` in the padding."""
        scaled = self._scaled(values.shape[-2:], size)
        rows, columns = (
            _sources(length, to, start, size)
            for length, to, start in zip(values.shape[-2:], scaled, self._corner(scaled, size), strict=True)
        )
        if self.flip:
            columns = values.shape[-1] - 1 - columns
        canvas = np.full((*values.shape[:-2], size, size), outside, values.dtype)
        canvas[..., : len(rows), : len(columns)] = values[..., rows[:, None], columns[None, :]]
        return canvas

    def _scaled(self, shape: tuple[int, ...], size: int) -> tuple[int, int]:
        factor = self.scale * size / max(shape)
        height, width = (max(1, round(length * factor)) for length in shape)
        return height, width

    def _corner(self, scaled: tuple[int, int], size: int) -> tuple[int, int]:
        top, left = (round(max(0, length - size) * self.crop) for length in scaled)
        return top, left


def training_sample(
    example: Example, jitter: Jitter, size: int, words: tuple[str, ...], caption: str = ""
) -> tuple[Tensor, Target]:
    """Return the augmented image, uint8 (3, size, size), and its truth.

    The truth is taken from the panoptic map. Without one, it is the instances; without these, every category
    of the semantic map is a segment. Crowds are omitted, and segments outside the crop.

    Args:
        words: nouns and noun phrases of the caption.
        caption: the sentence.
    """
    image = torch.from_numpy(jitter.image(example.image, size).transpose(2, 0, 1).copy())
    masks, classes = _segments(example, jitter, size)
    visible = masks.any((1, 2))
    kept = torch.from_numpy(masks[visible]), torch.from_numpy(classes[visible].astype(np.int64))
    return image, Target(*kept, words, caption)


def _segments(example: Example, jitter: Jitter, size: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    if example.panoptic is not None:
        segments = [segment for segment in example.segments if not segment.iscrowd]
        ids = jitter.map(example.panoptic, size, outside=0)
        masks = ids == np.array([segment.id for segment in segments], ids.dtype).reshape(-1, 1, 1)
        return masks, np.array([segment.category for segment in segments], np.int64)
    if example.instances is not None:
        objects = [instance for instance in example.instances if not instance.iscrowd]
        empty = np.zeros((0, size, size), np.bool_)
        masks = np.stack([jitter.map(o.mask, size, outside=0) for o in objects]) if objects else empty
        return masks, np.array([instance.category for instance in objects], np.int64)
    if example.semantic is not None:
        labels = jitter.map(example.semantic, size, outside=IGNORED)
        categories = np.setdiff1d(labels, [IGNORED]).astype(np.int64)
        return labels == categories.reshape(-1, 1, 1), categories
    return np.zeros((0, size, size), np.bool_), np.zeros(0, np.int64)


def _sources(length: int, scaled: int, start: int, size: int) -> NDArray[np.int64]:
    """Return the source index, in a line of `length` pixels, of each visible pixel of the scaled line."""
    places = np.arange(start, min(scaled, start + size))
    return ((places + 0.5) * length / scaled).astype(np.int64)
