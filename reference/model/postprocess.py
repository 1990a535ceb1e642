"""From class log-probabilities and mask logits to panoptic, semantic and instance results.

All functions take one image:
    mask_cls   (Q, K+1)   class log-probabilities, "no object" last
    mask_pred  (Q, H, W)  mask logits at the size of the result

`odise_trt.postprocess` computes the same in numpy, tile by tile. This module is its oracle.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class SegmentInfo:
    """A segment of a panoptic map, with the field names of COCO's panoptic format."""

    id: int
    isthing: bool
    category_id: int

    def to_json(self) -> dict[str, int | bool]:
        """As in a `segments_info` list."""
        return asdict(self)


@dataclass(frozen=True)
class Panoptic:
    """A panoptic map int32 (H, W) of segment ids, 0 where there is none, and its segments."""

    map: Tensor
    segments: tuple[SegmentInfo, ...]


@dataclass(frozen=True)
class Instances:
    """Objects in no particular order: scores (N,), classes int64 (N,), masks bool (N, H, W)."""

    scores: Tensor
    classes: Tensor
    masks: Tensor


def resize_masks(
    masks: Tensor, padded_hw: tuple[int, int], image_hw: tuple[int, int], out_hw: tuple[int, int]
) -> Tensor:
    """Resize mask logits to the size of the result.

    Two bilinear steps, as in the official model: to the padded image, which is cropped to the image, then to
    the result.

    Args:
        masks: (Q, padded height / 4, padded width / 4).
        padded_hw, image_hw, out_hw: heights and widths.

    Returns:
        (Q, *out_hw).
    """
    masks = F.interpolate(masks[None], size=padded_hw, mode="bilinear", align_corners=False)
    masks = masks[:, :, : image_hw[0], : image_hw[1]]
    return F.interpolate(masks, size=out_hw, mode="bilinear", align_corners=False)[0]


def semantic(mask_cls: Tensor, mask_pred: Tensor) -> Tensor:
    """Score every category at every pixel, (K, H, W). The scores of a pixel do not sum to 1."""
    return torch.einsum("qk,qhw->khw", mask_cls.softmax(-1)[:, :-1], mask_pred.sigmoid())


def panoptic(
    mask_cls: Tensor,
    mask_pred: Tensor,
    things: Collection[int],
    *,
    object_mask_threshold: float,
    overlap_threshold: float,
) -> Panoptic:
    """Give every pixel at most one segment (the merging of MaskFormer, arXiv 2107.06278 sec. 3.4).

    Args:
        mask_cls, mask_pred: see the module.
        things: categories with one segment per object; the segments of any other category merge.
        object_mask_threshold: queries with a score up to this are dropped.
        overlap_threshold: a segment is dropped if it wins a smaller share of its mask than this.
    """
    ids = torch.zeros(mask_pred.shape[-2:], dtype=torch.int32, device=mask_pred.device)
    scores, classes = mask_cls.softmax(-1).max(-1)
    kept = (classes != mask_cls.shape[1] - 1) & (scores > object_mask_threshold)
    if not kept.any():
        return Panoptic(ids, ())
    masks = mask_pred[kept].sigmoid()
    owner = (scores[kept, None, None] * masks).argmax(0)
    segments: list[SegmentInfo] = []
    stuff: dict[int, int] = {}
    for query, category in enumerate(classes[kept].tolist()):
        won, mask = owner == query, masks[query] >= 0.5
        visible = won & mask
        # `visible` is not empty, so the division is safe. As in the official code, the share counts all
        # pixels that were won, also those outside the mask.
        if not visible.any() or int(won.sum()) / int(mask.sum()) < overlap_threshold:
            continue
        isthing = category in things
        if not isthing and category in stuff:
            ids[visible] = stuff[category]
            continue
        segments.append(SegmentInfo(len(segments) + 1, isthing, category))
        ids[visible] = segments[-1].id
        if not isthing:
            stuff[category] = segments[-1].id
    return Panoptic(ids, tuple(segments))


def instances(
    mask_cls: Tensor, mask_pred: Tensor, topk: int, things: Collection[int] | None = None
) -> Instances:
    """Take the `topk` best pairs of query and category. One query may appear with several categories.

    Args:
        mask_cls, mask_pred: see the module.
        topk: number of pairs, before those of other categories than `things` are dropped.
        things: categories to keep. None keeps all.
    """
    probabilities = mask_cls.softmax(-1)[:, :-1]
    categories = probabilities.shape[1]
    scores, pairs = probabilities.flatten().topk(min(topk, probabilities.numel()))
    queries, classes = pairs // categories, pairs % categories
    if things is not None:
        wanted = torch.isin(classes, torch.tensor(sorted(things), dtype=torch.int64, device=classes.device))
        scores, queries, classes = scores[wanted], queries[wanted], classes[wanted]
    logits = mask_pred[queries]
    masks = logits > 0
    inside = (logits.sigmoid() * masks).flatten(1).sum(1) / (masks.flatten(1).sum(1) + 1e-6)
    return Instances(scores * inside, classes, masks)
