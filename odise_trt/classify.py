"""Open-vocabulary classification of masks, in numpy (paper section 3.5, details as in the official model).

Each mask and category has two scores, from the diffusion features and from CLIP. A geometric mean joins
them. The last column is "nothing" (no object). `reference.model.open_vocabulary` computes the same in PyTorch
and is the oracle of this module.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .products import product
from .text_table import Floats, TextTable, unit

#: Probabilities that are computed at once.
_NUMBERS = 1 << 15


def classify(
    mask_embed: Floats,
    clip_mask_embed: Floats,
    table: TextTable,
    *,
    logit_scale: float,
    clip_logit_scale: float,
    alpha: float,
    beta: float,
    null_embed: Floats | None = None,
    pred_logits: Floats | None = None,
) -> Floats:
    """Log-probabilities of the categories of `table` and of "nothing", (Q, K + 1) float32.

    Args:
        mask_embed: (Q, D), compared with `table.text_embed`.
        clip_mask_embed: (Q, E), compared with `table.clip_text_embed`.
        logit_scale, clip_logit_scale: factors of the two cosines.
        alpha, beta: CLIP's weight for categories seen in training, and for others.
        null_embed: (1, D), the embedding of "nothing" (label models).
        pred_logits: (Q, 2), object and no object (caption models).

    Raises:
        ValueError: both or neither of `null_embed` and `pred_logits` are given.
    """
    category = category_logits(mask_embed, table.unit_text_embed, table.starts, logit_scale)
    clip = category_logits(clip_mask_embed, table.unit_clip_text_embed, table.starts, clip_logit_scale)
    if (null_embed is None) == (pred_logits is None):
        raise ValueError("exactly one of null_embed and pred_logits says what is nothing")
    null = None if null_embed is None else logit_scale * unit(mask_embed) @ unit(null_embed).T
    weight = np.where(table.seen, alpha, beta)
    log_probabilities = np.empty((category.shape[0], category.shape[1] + 1), np.float32)
    # Some masks at a time: with ten thousand categories, new arrays take longer than the numbers in them.
    some = max(1, _NUMBERS // category.shape[1])
    for start in range(0, len(category), some):
        rows = slice(start, start + some)
        if null is not None:
            log_nothing = log_softmax(np.concatenate([category[rows], null[rows]], axis=1))[:, -1:]
        else:
            log_nothing = log_softmax(np.asarray(pred_logits, np.float32)[rows])[:, 1:]
        nothing = np.exp(log_nothing)
        something = np.exp(fuse(category[rows], clip[rows], weight)) * (1 - nothing)
        # The official model adds 1e-8 before its logarithm, and its scores include it.
        log_probabilities[rows] = np.log(np.concatenate([something, nothing], axis=1) + 1e-8)
    return log_probabilities


def category_logits(embed: Floats, unit_text: Floats, starts: NDArray[np.intp], scale: float) -> Floats:
    """Scaled cosine with the best name of every category, (Q, K) float32.

    Args:
        embed: (Q, C) of masks.
        unit_text: (K', C) of names, of length one. The names of a category are adjacent rows.
        starts: (K,) the first row of every category.
    """
    cosine = product(unit(embed), unit_text.T)
    # With one name each there is nothing to choose, and `reduceat` would take longer than the product.
    best = cosine if len(starts) == cosine.shape[1] else np.maximum.reduceat(cosine, starts, axis=1)
    best *= np.float32(scale)
    return best


def fuse(category: Floats, clip: Floats, weight: NDArray[np.floating]) -> Floats:
    """Log of the normalised geometric mean of two softmaxes over K categories, (Q, K).

    All computation is on logarithms. A probability that underflows to zero is only a large penalty here. A
    product of powers would turn it into -inf and then NaN.

    Args:
        category, clip: (Q, K) logits.
        weight: (K,) the share of `clip`.
    """
    weight = weight.astype(np.float32)
    return log_softmax((1 - weight) * log_softmax(category) + weight * log_softmax(clip))


def log_softmax(logits: Floats) -> Floats:
    """Logarithm of the softmax over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), np.float32)
