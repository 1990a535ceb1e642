"""Sliding windows: cut an image into windows, run them, and stitch their features.

`odise_trt.windows` does the same in numpy. This module is its oracle.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reference.model.backbone import PYRAMID, Backbone
from reference.model.clock import Clock, untimed

Origin = tuple[int, int]


def window_origins(height: int, width: int, side: int) -> list[Origin]:
    """Top left corners (y, x) of the square windows that cover an image, row by row.

    Neighbours touch. The last window of a row or column ends at the border, and overlaps the one before it.
    """
    return [(y, x) for y in _starts(height, side) for x in _starts(width, side)]


def extract_windows(image: Tensor, largest: int) -> tuple[Tensor, list[Origin]]:
    """Cut images into windows of side min(largest, height, width).

    Args:
        image: (B, 3, H, W), H and W multiples of 64.

    Returns:
        windows (B * N, 3, side, side), image by image, and the N origins of one image.
    """
    height, width = image.shape[-2:]
    side = min(largest, height, width)
    origins = window_origins(height, width, side)
    windows = torch.stack([image[..., y : y + side, x : x + side] for y, x in origins], dim=1)
    return windows.flatten(0, 1), origins


def stitch(windows: Tensor, origins: Sequence[Origin], stride: int, height: int, width: int) -> Tensor:
    """Join the feature maps of windows. Where windows overlap, take the mean.

    Args:
        windows: (B * N, C, side/stride, side/stride), in the order of `extract_windows`.
        height, width: of the image in pixels.

    Returns:
        (B, C, height/stride, width/stride)
    """
    per_window = windows.unflatten(0, (-1, len(origins))).unbind(1)
    total = windows.new_zeros(*per_window[0].shape[:2], height // stride, width // stride)
    count = windows.new_zeros(total.shape[-2:])
    side = windows.shape[-1]
    for window, origin in zip(per_window, origins, strict=True):
        y, x = (place // stride for place in origin)
        total[..., y : y + side, x : x + side] += window
        count[y : y + side, x : x + side] += 1
    return total / count


def image_features(
    backbone: Backbone, image: Tensor, clock: Clock = untimed, *, batch: int | None = None
) -> tuple[Tensor, ...]:
    """(s2, s3, s4, s5) of whole images (B, 3, H, W) in [0, 1], H and W multiples of 64.

    Args:
        batch: number of windows that run at once. None: all of them.
    """
    windows, origins = extract_windows(image, backbone.window)
    pyramids = []
    for some in windows.split(batch or len(windows)):
        with clock("captioner"):
            condition = backbone.feature_extractor(some)
        with clock("features"):
            pyramids.append(backbone(some, *condition))
    with clock("stitch"):
        pyramid = [torch.cat(level) for level in zip(*pyramids, strict=True)]
        return join(pyramid, origins, *image.shape[-2:])


def join(pyramid: Sequence[Tensor], origins: Sequence[Origin], height: int, width: int) -> tuple[Tensor, ...]:
    """`stitch` for every level of a pyramid of windows."""
    return tuple(
        stitch(level, origins, stride, height, width) for level, stride in zip(pyramid, PYRAMID, strict=True)
    )


def _starts(length: int, side: int) -> list[int]:
    return [*range(0, length - side, side), length - side]
