"""Bicubic resizing to a square, as PyTorch's own operator and as two matrix products."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: PyTorch's (and the official model's) cubic convolution kernel: Keys' with this coefficient.
_KEYS = -0.75
#: Samples that the kernel can reach beyond each edge. They repeat the sample at the edge.
_BEYOND = 2


def resize_bicubic(image: Tensor, side: int) -> Tensor:
    """Resize to (..., side, side), without antialiasing or clamping. An input of that size is unchanged.

    An exported graph has the products instead of the operator: ONNX Runtime's cubic Resize takes six times as
    long on a CPU, and TensorRT's engine is larger with it.

    Args:
        image: (N, C, H, W) in float32.
    """
    if torch.compiler.is_exporting():
        return resize_by_products(image, side)
    return F.interpolate(image, size=(side, side), mode="bicubic", align_corners=False)


def resize_by_products(image: Tensor, side: int) -> Tensor:
    """Compute the same as `resize_bicubic` (within rounding) as rows @ image @ columns."""
    rows = _weights(image.shape[-2], side, image.device)
    columns = _weights(image.shape[-1], side, image.device)
    return rows @ image @ columns.T


def _weights(length: int, side: int, device: torch.device) -> Tensor:
    """Return how much every new sample takes of every old one: (side, length) float32."""
    centre = (torch.arange(side, dtype=torch.float32, device=device) + 0.5) * (length / side) - 0.5
    old = torch.arange(length + 2 * _BEYOND, dtype=torch.float32, device=device) - _BEYOND
    distance = (centre[:, None] - old).abs()
    near = ((_KEYS + 2) * distance - (_KEYS + 3)) * distance * distance + 1
    far = ((_KEYS * distance - 5 * _KEYS) * distance + 8 * _KEYS) * distance - 4 * _KEYS
    weights = torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))
    first, last = _BEYOND + 1, weights.shape[1] - _BEYOND - 1
    return torch.cat(
        [
            weights[:, :first].sum(1, keepdim=True),
            weights[:, first:last],
            weights[:, last:].sum(1, keepdim=True),
        ],
        dim=1,
    )
