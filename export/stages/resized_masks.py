"""Mask logits at the size of the output, as two matrix products. The stages that read masks share this."""

from __future__ import annotations

import torch
from torch import Tensor as Array

from odise_trt.chains.vectors import TAPS
from odise_trt.stage_spec import Tensor
from reference.preset import Preset


def masks_tensor(preset: Preset) -> Tensor:
    """Return the declaration of the mask logits."""
    return Tensor("pred_masks", "float32", (1, preset.head.num_queries, "height/4", "width/4"))


def axis_tensors(prefix: str, axis: str) -> tuple[Tensor, Tensor]:
    """Return the declaration of a sparse map along one axis, see `odise_trt.interpolate.AxisMap`."""
    return (
        Tensor(f"{prefix}_index", "int64", (axis, TAPS)),
        Tensor(f"{prefix}_weight", "float32", (axis, TAPS)),
    )


def resized(
    masks: Array, row_index: Array, row_weight: Array, column_index: Array, column_weight: Array
) -> Array:
    """Resize masks (Q, h, w) by a map of each axis: (Q, rows, columns).

    The maps have a few weights per row. Dense products with them cost some 300 multiplications per element,
    and no gather of every tap of every element has to be written and read again.
    """
    vertical = _matrix(row_index, row_weight, masks.shape[1])
    horizontal = _matrix(column_index, column_weight, masks.shape[2])
    return torch.matmul(torch.matmul(vertical, masks), horizontal.T)


def _matrix(index: Array, weight: Array, size: int) -> Array:
    """Return a sparse map (out, taps) as a dense matrix (out, size)."""
    hits = index[:, :, None] == torch.arange(size)
    return (hits.to(weight.dtype) * weight[:, :, None]).sum(1)
