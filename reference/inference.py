"""A photo in, its segmentation at the photo's size out: the official evaluation's way with images."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from odise_trt.preprocess import ImageSource, load_image
from odise_trt.vocabulary import Vocabulary
from reference.model import ODISE, Segmentation
from reference.model.odise import Way
from reference.model.open_vocabulary import EncodedTexts


def segment_photo(
    model: ODISE,
    image: ImageSource,
    vocabulary: Vocabulary,
    *,
    encoded: EncodedTexts | None = None,
    way: Way = "pruned",
) -> Segmentation:
    """Resize a photo as the official evaluation does and segment it.

    Args:
        model: in evaluation mode.
        image: a path, a Pillow image, or a uint8 array (H, W, 3).
        vocabulary: what to look for.
        encoded: what `model.encode(vocabulary.synonyms)` gave, so that many photos encode it once; None:
            encode it now.
        way: see `Way`.

    Returns:
        Results at the size of the photo.

    Raises:
        ImageError: not an image.
        ValueError: `encoded` is of other names than those of the vocabulary.
    """
    if encoded is not None and tuple(encoded.labels) != tuple(map(tuple, vocabulary.synonyms)):
        raise ValueError("the encoded texts are of another vocabulary")
    photo = Image.fromarray(load_image(image))
    width, height = photo.size
    preset = model.preset
    new_height, new_width = evaluation_size(height, width, preset.short_side, preset.max_side)
    resized = photo.resize((new_width, new_height), Image.Resampling.BILINEAR)
    things = {index for index, isthing in enumerate(vocabulary.isthing) if isthing}
    pixels = torch.from_numpy(np.array(resized)).to(next(model.parameters()).device)
    labels = vocabulary.synonyms if encoded is None else encoded
    return model.segment(pixels, labels, things, (height, width), way=way)


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
