"""A photo in, its segmentation at the photo's size out: the official evaluation's way with images."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from odise_trt.preprocess import ImageSource, load_image
from odise_trt.vocabulary import Vocabulary
from reference.model import ODISE, Segmentation, Way


def segment_photo(
    model: ODISE, image: ImageSource, vocabulary: Vocabulary, *, way: Way = "pruned"
) -> Segmentation:
    """Resize a photo as the official evaluation does and segment it.

    Args:
        model: in evaluation mode.
        image: a path, a Pillow image, or a uint8 array (H, W, 3).
        vocabulary: what to look for.
        way: see `Way`.

    Returns:
        Results at the size of the photo.

    Raises:
        ImageError: not an image.
    """
    photo = Image.fromarray(load_image(image))
    width, height = photo.size
    preset = model.preset
    new_height, new_width = evaluation_size(height, width, preset.short_side, preset.max_side)
    resized = photo.resize((new_width, new_height), Image.Resampling.BILINEAR)
    things = {index for index, isthing in enumerate(vocabulary.isthing) if isthing}
    pixels = torch.from_numpy(np.array(resized))
    return model.segment(pixels, vocabulary.synonyms, things, (height, width), way=way)


def evaluation_size(height: int, width: int, short_side: int, max_side: int) -> tuple[int, int]:
    """Height and width of an image whose shorter side becomes `short_side`, the longer at most `max_side`.

    The rounding is that of detectron2's ResizeShortestEdge; a very long image keeps at least one pixel.
    """
    scale = short_side / min(height, width)
    # The shorter side exactly: scaling it would round.
    sizes = (scale * height, float(short_side)) if width <= height else (float(short_side), scale * width)
    shrink = min(1.0, max_side / max(sizes))
    new_height, new_width = (max(1, int(size * shrink + 0.5)) for size in sizes)
    return new_height, new_width
