"""Weights of the losses, and numbers of points and words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LossConfig:
    """The paper's numbers (ODISE, sec. 4.1; Mask2Former, arXiv 2112.01527, sec. 3.3).

    The weight of "no object" in the classification loss (`eos_coef`) is the buffer
    `criterion.empty_weight`, a tensor of the checkpoints.

    Attributes:
        class_weight, mask_weight, dice_weight: of cross entropy, mask cross entropy and dice, both in
            the loss and in the cost of a match.
        word_weight: of the grounding loss (caption supervision).
        num_points: P. Masks are compared at P points instead of at all pixels.
        oversample_ratio: the mask losses draw this many times P candidates and use the most uncertain ones.
        importance_sample_ratio: share of the P points that are chosen by uncertainty. The others are
            uniform.
        num_words: K_word, drawn per caption with replacement.
        checkpointing: recompute the feature projections and the blocks of the UNet in the backward pass
            instead of storing their activations. Same numbers, less memory, more time.
    """

    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    word_weight: float = 1.0
    num_points: int = 12_544
    oversample_ratio: float = 3.0
    importance_sample_ratio: float = 0.75
    num_words: int = 8
    checkpointing: bool = True

    def __post_init__(self) -> None:
        if self.num_points < 1 or self.num_words < 1:
            raise ValueError("num_points and num_words are at least 1")
        if self.oversample_ratio < 1 or not 0 <= self.importance_sample_ratio <= 1:
            raise ValueError("oversample_ratio is at least 1, importance_sample_ratio between 0 and 1")
