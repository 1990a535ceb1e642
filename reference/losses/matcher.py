"""Hungarian matching of predictions and segments (DETR, arXiv 2005.12872; on points, as in Mask2Former)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from reference.losses.config import LossConfig
from reference.losses.masks import pairwise_dice, pairwise_sigmoid_cross_entropy
from reference.losses.points import sample_together
from reference.losses.random_points import Draws


class Match(NamedTuple):
    """Pairs of one image, ordered by query.

    Attributes:
        queries, targets: int64 (M,), M = min(queries, segments).
    """

    queries: Tensor
    targets: Tensor


@torch.no_grad()
def match(
    class_logits: Tensor,
    mask_logits: Tensor,
    classes: Tensor,
    masks: Tensor,
    draws: Draws,
    config: LossConfig,
) -> Match:
    """Return the one-to-one assignment of least total cost for one image.

    The cost of a pair is minus the probability of the segment's class, plus mask cross entropy, plus dice,
    with the weights of the losses.

    Args:
        class_logits: (Q, K+1), "no object" last.
        mask_logits: (Q, h, w).
        classes: int64 (N,).
        masks: 0 or 1 (N, H, W), floating point, covering the same image.

    Raises:
        FloatingPointError: a prediction is not finite.
    """
    points = draws.uniform((1, config.num_points, 2), mask_logits.device)
    # All masks use the same points. As channels of one image, they need the sampling grid once.
    predicted = sample_together(mask_logits, points)
    truth = sample_together(masks, points)
    cost = (
        config.mask_weight * pairwise_sigmoid_cross_entropy(predicted, truth)
        - config.class_weight * class_logits.softmax(-1)[:, classes]
        + config.dice_weight * pairwise_dice(predicted, truth)
    ).cpu()
    if not cost.isfinite().all():
        raise FloatingPointError("the predictions are not finite, so no segment can be matched")
    rows, columns = linear_sum_assignment(cost.numpy())
    device = mask_logits.device
    return Match(torch.as_tensor(rows, device=device), torch.as_tensor(columns, device=device))
