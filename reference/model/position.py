"""Sine position embedding of a feature map (DETR, arXiv 2005.12872, appendix A.4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_position(height: int, width: int, dim: int, like: Tensor) -> Tensor:
    """Embed the position of every pixel: the row in the first half of the channels, the column in the second.

    Positions are normalised to (0, 2 pi]. They are computed in float32 from the sizes alone, so a graph that
    was exported with symbolic sizes is correct for all sizes.

    Returns:
        (1, height*width, dim), dtype and device of `like`.
    """
    steps = dim // 2
    dtype = torch.promote_types(like.dtype, torch.float32)
    channel = torch.arange(steps, dtype=dtype, device=like.device)
    frequency = 10000 ** (2 * (channel // 2) / steps)

    def along(length: int) -> Tensor:
        place = torch.arange(1, length + 1, dtype=dtype, device=like.device)
        angle = (place / (length + 1e-6) * (2 * math.pi))[:, None] / frequency
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=2).flatten(1)

    row = along(height)[:, None, :].expand(height, width, steps)
    column = along(width)[None, :, :].expand(height, width, steps)
    return torch.cat([row, column], dim=2).reshape(1, height * width, dim).to(like.dtype)
