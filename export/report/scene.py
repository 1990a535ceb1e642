"""A drawn scene, segmented by the reference and by the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from odise_trt.bundle import Bundle
from odise_trt.segmenter import Segmenter
from reference.inference import segment_photo
from reference.scenes import make_scene
from reference.scenes.scene import SMALLEST
from reference.scenes.words import training_names

from ..plan import built_for
from ..stages.image_sizes import ImageSize
from .colors import SAME_OR_NOT, index_of, of_ids, photo, png
from .maps import Panel

if TYPE_CHECKING:
    from reference.model import ODISE

#: A scene that the demo model was not trained on, and its usual sides.
_SEED, _SIDE = 1_000_010, 256
_NEEDED = ("captioner", "features", "mask_head", "clip_pool", "text_encoder")
#: Of larger models a picture takes minutes, and memory for the engines beside the model.
MOST_BYTES = 10**9


def can_draw(model: ODISE, folder: Path) -> bool:
    """Whether a picture says something, and takes seconds.

    The bundle has all that segmentation needs, of a small model whose weights are not random numbers.
    """
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    manifest = Bundle.open(folder, "size").manifest
    have = {entry.spec.name for entry in manifest.stages}
    large = all(min(one.height, one.width) >= SMALLEST for one in built_for(manifest))
    return size < MOST_BYTES and have.issuperset(_NEEDED) and large and not manifest.weights.get("seeded")


def draw_scene(model: ODISE, folder: Path) -> tuple[Panel, ...]:
    """Segment a scene with the reference and with a bundle, and draw both beside each other.

    Args:
        model: the reference.
        folder: the bundle, finished or not; it needs a manifest.

    Raises:
        BundleError, BackendError: the bundle does not open here, or does not run.
    """
    # A bundle for some sizes of pictures takes no other.
    (size, *_) = built_for(Bundle.open(folder, "size").manifest) or (ImageSize(_SIDE, _SIDE),)
    image, words = make_scene(_SEED, size.height, size.width).image, training_names()
    with torch.inference_mode():
        expected = segment_photo(model, image, words).panoptic
    with Segmenter.open(folder, vocabulary=words, verify="size", cache=False) as segmenter:
        result = segmenter(image)
    assert result.panoptic is not None
    wanted = np.asarray(expected.map.cpu())
    have = matched(
        np.asarray(result.panoptic),
        {segment.id: segment.category_id for segment in result.segments},
        wanted,
        {segment.id: segment.category_id for segment in expected.segments},
    )
    ids = np.unique(np.stack([wanted, have]))
    colors, differs = of_ids(ids.tolist()), wanted != have
    return (
        Panel("a drawn scene", photo(image)),
        Panel(f"reference: {len(expected.segments)} segments", png(index_of(wanted, ids), colors)),
        Panel(f"this bundle: {len(result.segments)} segments", png(index_of(have, ids), colors)),
        Panel(f"{differs.sum()} of {differs.size} pixels differ", png(differs.astype(np.uint8), SAME_OR_NOT)),
    )


def matched(
    found: np.ndarray, found_as: Mapping[int, int], wanted: np.ndarray, wanted_as: Mapping[int, int]
) -> np.ndarray:
    """Return a panoptic map with the numbers of another one: one more segment must not renumber all others.

    Every segment of `wanted` gives its number to the segment of its category in `found` that has the most of
    its pixels. Segments without a partner get new numbers. 0 stays 0.

    Args:
        found, wanted: int (H, W), ids of segments.
        found_as, wanted_as: id -> category.
    """
    numbers = {0: 0}
    for number, category in wanted_as.items():
        ids, counts = np.unique(found[wanted == number], return_counts=True)
        for partner in ids[np.argsort(-counts, kind="stable")].tolist():
            if partner not in numbers and found_as.get(partner) == category:
                numbers[partner] = number
                break
    new = max([0, *wanted_as]) + 1
    for number in found_as:
        if number not in numbers:
            numbers[number], new = new, new + 1
    table = np.zeros(max(numbers) + 1, np.int64)
    table[list(numbers)] = list(numbers.values())
    return table[found]
