"""CLIP embeds one crop per mask (ablation), where `ClipPool` needs a single pass over the image.

A hundred masks need a hundred passes. In the paper, such a model runs at 0.38 images per second.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reference.model.clip import Clip
from reference.model.postprocess import resize_masks

#: Crops embedded at a time.
BATCH = 25


@torch.no_grad()
def embed_crops(clip: Clip, image: Tensor, pred_masks: Tensor, *, masked: bool = False) -> Tensor:
    """Embed the bounding box of every mask.

    A crop is resized to the square input of CLIP, as the whole image is for `ClipPool`. A mask without a
    pixel has no box, so the whole image is embedded; in `ClipPool` such a mask attends to CLS alone.

    Args:
        clip: the CLIP.
        image: (1, 3, H, W), RGB in [0, 1], without padding.
        pred_masks: (1, Q, h, w), logits; 4h x 4w is the size of the padded image.
        masked: replace pixels outside the mask by the mean colour of CLIP's training.

    Returns:
        clip_mask_embed (1, Q, E), not normalised.
    """
    side = clip.preset.image_size
    height, width = image.shape[-2:]
    padded = 4 * pred_masks.shape[-2], 4 * pred_masks.shape[-1]
    embeds = []
    for logits in pred_masks[0].split(BATCH):
        masks = resize_masks(logits, padded, (height, width), (height, width)) > 0
        crops = [_crop(image, mask, clip.mean if masked else None, side) for mask in masks]
        embeds.append(clip.embed_image(torch.cat(crops)))
    return torch.cat(embeds)[None]


def bounding_box(mask: Tensor) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right of bool (H, W), the last two exclusive; all of it if it is empty."""
    rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
    if not len(rows):
        return 0, 0, *mask.shape
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _crop(image: Tensor, mask: Tensor, background: Tensor | None, side: int) -> Tensor:
    top, left, bottom, right = bounding_box(mask)
    crop = image[..., top:bottom, left:right]
    # An empty mask: the whole image, without a background.
    if background is not None and mask.any():
        crop = torch.where(mask[top:bottom, left:right], crop, background)
    return F.interpolate(crop, size=(side, side), mode="bilinear", align_corners=False)
