"""Which of several values is the largest: the same answer for equals in every engine."""

from __future__ import annotations

import torch
from torch import Tensor as Array

#: Relative distance within which rounding decides between two values.
ROUNDING = 1e-5


def first_largest(values: Array, largest: Array, axis: int) -> Array:
    """Return the first index of the largest value along one axis, int64. An engine may take any of equals.

    Args:
        largest: the largest values, without the axis.
    """
    size = values.shape[axis]
    places = torch.arange(size, dtype=torch.float32)
    places = places.reshape([-1 if one == axis else 1 for one in range(values.ndim)])
    reached = values >= largest.unsqueeze(axis)
    # For NaN, which reaches nothing, it is the last one: an index that exists.
    return torch.where(reached, places, places.amax(axis, keepdim=True)).amin(axis).to(torch.int64)


def nearly_equal(values: Array, axis: int) -> Array:
    """Return where the two largest values along one axis are so near that rounding decides between them."""
    if values.shape[axis] == 1:
        return torch.zeros_like(values.select(axis, 0), dtype=torch.bool)
    first, second = values.topk(2, dim=axis).values.unbind(axis)
    return first - second <= ROUNDING * first.abs()
