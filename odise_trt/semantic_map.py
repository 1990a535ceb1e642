"""The category of every pixel, for any number of categories.

A score is a sum over queries of class times mask probability. Ten thousand categories have ten thousand
scores at every pixel, and nearly all of them are hopeless. So bounds of the mask probabilities in a block of
pixels exclude categories before any score is computed. This pruning is exact, except for ties within
rounding.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .masks import MaskTiles, sigmoid
from .products import product

# Comparisons with bounds leave this margin for rounding.
_ROUNDING = np.float32(1e-5)
# Scores that are computed at once. A block with more is split into four, with tighter bounds, ...
_SCORES = 1 << 17
# ... down to blocks of so many rows.
_ROWS = 4
# So many categories are compared one by one, with all pixels at once.
_FEW = 48


def semantic(masks: MaskTiles, probabilities: np.ndarray) -> np.ndarray:
    """Assign every pixel the category with the largest sum over queries of class times mask probability.

    Args:
        masks: the masks of Q queries.
        probabilities: float32 (Q, K + 1), the last column is "nothing".

    Returns:
        int32 (H, W), indices of categories.
    """
    by_category = np.ascontiguousarray(probabilities[:, :-1].T)
    every_query = np.arange(by_category.shape[1])
    out = np.empty(masks.size, dtype=np.int32)
    for tile in masks:
        part = out[tile.rows, tile.columns]
        low, high = sigmoid(tile.low)[:, None], sigmoid(tile.high)[:, None]
        (contends,) = _contenders(by_category, low, high)
        if len(contends) == 1:
            part[:] = contends[0]
        else:
            _fill(part, contends, by_category[contends], tile.probabilities(every_query))
    return out


def _fill(part: np.ndarray, contends: np.ndarray, by_category: np.ndarray, probability: np.ndarray) -> None:
    """Write the categories of one block of pixels.

    Args:
        part: int32 (h, w), where they go.
        contends: (k,) the categories that may be there.
        by_category: (k, Q), their class probabilities.
        probability: (Q, h, w), mask probabilities.
    """
    if len(contends) == 1:
        part[:] = contends[0]
    elif len(contends) * part.size <= _SCORES or part.shape[0] <= _ROWS:
        part[:] = contends[_best(by_category, probability.reshape(len(probability), -1))].reshape(part.shape)
    else:
        places = list(_quarters(*part.shape))
        blocks = [probability[:, rows, columns] for rows, columns in places]
        low, high = (np.stack([pick(one, axis=(1, 2)) for one in blocks], 1) for pick in (np.min, np.max))
        found = _contenders(by_category, low, high)
        for place, block, some in zip(places, blocks, found, strict=True):
            _fill(part[place], contends[some], by_category[some], block)


def _best(by_category: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Return for each pixel which of the (k, Q) categories is the first with the largest score."""
    if len(by_category) <= _FEW:
        return first_largest(product(by_category, probability))
    # Along the last axis, numpy compares by vector instructions.
    return product(probability.T, by_category.T).argmax(axis=1)


def first_largest(values: np.ndarray) -> np.ndarray:
    """Compute `values.argmax(axis=0)`, the first of equals. numpy's own takes four times as long there."""
    largest = values[0].copy()
    best = np.zeros(largest.shape, dtype=np.intp)
    for index, candidate in enumerate(values[1:], start=1):
        np.copyto(best, index, where=candidate > largest)
        np.maximum(largest, candidate, out=largest)
    return best


def _quarters(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    rows, columns = (height + 1) // 2, (width + 1) // 2
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield slice(top, top + rows), slice(left, left + columns)


def _contenders(by_category: np.ndarray, low: np.ndarray, high: np.ndarray) -> list[np.ndarray]:
    """Return for each block the categories (ascending) that may have the largest score at one of its pixels.

    Args:
        by_category: (K, Q) class probabilities.
        low, high: (Q, blocks), bounds of the mask probabilities in each block.
    """
    scores = product(by_category, np.concatenate([low, high], axis=1))
    least, most = scores[:, : low.shape[1]], scores[:, low.shape[1] :]
    leaders = least.argmax(axis=0)
    found = []
    for block, leader in enumerate(leaders):
        some = np.flatnonzero(most[:, block] >= least[leader, block] * (1 - _ROUNDING))
        if len(some) > 1:
            # The leader's score is large where theirs is: what they can be ahead of it is a tighter bound.
            ahead = by_category[some] - by_category[leader]
            middle, half = (high[:, block] + low[:, block]) / 2, (high[:, block] - low[:, block]) / 2
            bound = np.einsum("kq,q->k", ahead, middle) + np.einsum("kq,q->k", np.abs(ahead), half)
            some = some[bound >= -_ROUNDING * most[leader, block]]
        found.append(some)
    return found
