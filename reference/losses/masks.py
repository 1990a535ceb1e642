"""Mask losses on sampled points, and the same losses of all pairs as matching costs."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def sigmoid_cross_entropy(logits: Tensor, targets: Tensor, num_masks: float) -> Tensor:
    """Binary cross entropy: the mean over points, summed over masks, divided by `num_masks`.

    Args:
        logits, targets: (N, P).
    """
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return loss.mean(1).sum() / num_masks


def dice(logits: Tensor, targets: Tensor, num_masks: float) -> Tensor:
    """Dice loss 1 - (2 p.t + 1) / (|p| + |t| + 1), p = sigmoid(logits): the sum divided by `num_masks`.

    Args:
        logits, targets: (N, P).
    """
    probability = logits.sigmoid()
    overlap = 2 * (probability * targets).sum(1)
    return (1 - (overlap + 1) / (probability.sum(1) + targets.sum(1) + 1)).sum() / num_masks


def pairwise_sigmoid_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy of every prediction (Q, P) with every target (N, P): (Q, N)."""
    inside, outside = F.softplus(-logits), F.softplus(logits)
    return (inside @ targets.mT + outside @ (1 - targets).mT) / logits.shape[1]


def pairwise_dice(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice loss of every prediction (Q, P) with every target (N, P): (Q, N)."""
    probability = logits.sigmoid()
    overlap = 2 * probability @ targets.mT
    return 1 - (overlap + 1) / (probability.sum(1)[:, None] + targets.sum(1) + 1)
