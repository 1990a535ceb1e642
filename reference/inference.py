"""Segmentation of a photo, with the image sizes of the official evaluation."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from odise_trt.preprocess import ImageSource, load_image
from odise_trt.vocabulary import Vocabulary
from reference.model import ODISE, Segmentation
from reference.model.open_vocabulary import EncodedTexts
from reference.preset import Preset


def segment_photo(
    model: ODISE, image: ImageSource, vocabulary: Vocabulary, *, encoded: EncodedTexts | None = None
) -> Segmentation:
    """Resize a photo as the official evaluation does, and segment it.

    Args:
        model: in evaluation mode.
        image: a path, a Pillow image, or a uint8 array (H, W, 3).
        vocabulary: what to look for.
        encoded: the result of `model.encode(vocabulary.synonyms)`, to encode it once for many photos. None:
            encode it now.

    Returns:
        Results at the size of the photo.

    Raises:
        ImageError: not an image.
        ValueError: `encoded` is of another vocabulary.
    """
    if encoded is not None and tuple(encoded.labels) != tuple(map(tuple, vocabulary.synonyms)):
        raise ValueError("the encoded texts are of another vocabulary")
    pixels, out_hw = resized_photo(image, model.preset)
    pixels = pixels.to(next(model.parameters()).device)
    labels = vocabulary.synonyms if encoded is None else encoded
    return model.segment(pixels, labels, things_of(vocabulary), out_hw)


def resized_photo(image: ImageSource, preset: Preset) -> tuple[Tensor, tuple[int, int]]:
    """Resize a photo for the model: uint8 (H, W, 3); and return the height and width of the photo.

    Raises:
        ImageError: not an image.
    """
    return resized_to(image, preset.short_side, preset.max_side)


def resized_to(image: ImageSource, short_side: int, max_side: int) -> tuple[Tensor, tuple[int, int]]:
    """`resized_photo` for other sides than those of a preset.

    Raises:
        ImageError: not an image.
    """
    photo = Image.fromarray(load_image(image))
    width, height = photo.size
    new_height, new_width = evaluation_size(height, width, short_side, max_side)
    resized = photo.resize((new_width, new_height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)), (height, width)


def things_of(vocabulary: Vocabulary) -> set[int]:
    """Return the numbers of the categories that are things."""
    return {index for index, isthing in enumerate(vocabulary.isthing) if isthing}


def evaluation_size(height: int, width: int, short_side: int, max_side: int) -> tuple[int, int]:
    """Return the height and width for a shorter side of `short_side` and a longer one of at most `max_side`.

    Rounding is that of detectron2's ResizeShortestEdge. A very long image keeps at least one pixel.
    `odise_trt.preprocess.shortest_size` computes the same. This function is its oracle.
    """
    scale = short_side / min(height, width)
    # The shorter side is set, not scaled, so that it is exact.
    sizes = (scale * height, float(short_side)) if width <= height else (float(short_side), scale * width)
    shrink = min(1.0, max_side / max(sizes))
    new_height, new_width = (max(1, int(size * shrink + 0.5)) for size in sizes)
    return new_height, new_width
