"""Point sampling: masks are compared at thousands of points, not all pixels (PointRend, arXiv 1912.08193).

Points are (x, y) in [0, 1) of the padded image, so they are the same place in masks of any resolution.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reference.losses.config import LossConfig
from reference.losses.random_points import Draws


def sample(masks: Tensor, points: Tensor) -> Tensor:
    """Sample masks bilinearly. Beyond the centres of the border pixels, values fade to zero.

    Args:
        masks: (N, H, W), floating point.
        points: (N, P, 2).

    Returns:
        (N, P)
    """
    grid = 2 * points[:, :, None].to(masks.dtype) - 1
    return F.grid_sample(masks[:, None], grid, mode="bilinear", align_corners=False)[:, 0, :, 0]


def sample_together(masks: Tensor, points: Tensor) -> Tensor:
    """Sample all masks at the same points, as `sample` does.

    Args:
        masks: (N, H, W), floating point.
        points: (1, P, 2).

    Returns:
        (N, P)
    """
    grid = 2 * points[:, :, None].to(masks.dtype) - 1
    return F.grid_sample(masks[None], grid, mode="bilinear", align_corners=False)[0, :, :, 0]


@torch.no_grad()
def importance_points(logits: Tensor, draws: Draws, config: LossConfig) -> Tensor:
    """Choose points for the mask losses, mostly where a prediction is uncertain (logit near zero).

    Args:
        logits: (N, h, w) of the matched predictions.

    Returns:
        (N, P, 2)
    """
    count, device = logits.shape[0], logits.device
    chosen = int(config.importance_sample_ratio * config.num_points)
    candidates = draws.uniform((count, int(config.oversample_ratio * config.num_points), 2), device)
    certainty = sample(logits, candidates).abs()
    nearest = certainty.topk(chosen, dim=1, largest=False).indices
    points = candidates.gather(1, nearest[..., None].expand(-1, -1, 2))
    if chosen < config.num_points:
        points = torch.cat([points, draws.uniform((count, config.num_points - chosen, 2), device)], dim=1)
    return points
