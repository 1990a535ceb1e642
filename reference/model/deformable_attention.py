"""Multi-scale deformable attention in plain PyTorch (Deformable DETR, arXiv 2010.04159, sec. 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference.model.precision import at_least_float32

Lowering = Literal["gather", "grid_sample"]
Size = tuple[int, int]  # height, width


def sample_gather(value: Tensor, size: Size, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples of one level, by explicit row gathers.

    Some engines compute GridSample wrong here, without an error. Gathers do the same arithmetic explicitly.
    The map is zero outside, as with `grid_sample(padding_mode="zeros")`. Indices are int64.

    Shapes:
        value    (B, h*w, heads, d)
        x, y     (B, L, heads, points)  0 and 1 are the outer edges of the map (align_corners=False), float32
        weights  (B, L, heads, points)
        returns  (B, L, heads, d)
    """
    height, width = size
    batch, pixels, heads, channels = value.shape
    rows = value.reshape(-1, channels)
    first = torch.arange(batch, device=value.device).view(-1, 1, 1, 1) * pixels
    head = torch.arange(heads, device=value.device).view(1, 1, -1, 1)
    x, y = x * width - 0.5, y * height - 0.5
    left, top = x.floor(), y.floor()
    indices, shares = [], []
    for column, share_x in ((left, left + 1 - x), (left + 1, x - left)):
        for row, share_y in ((top, top + 1 - y), (top + 1, y - top)):
            inside = (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)
            shares.append(torch.where(inside, share_x * share_y, 0.0) * weights)
            # Clamped while still a float: a position far outside does not fit an integer.
            pixel = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
            indices.append((first + pixel) * heads + head)
    # One gather and one product for all corners of all points: sums over few numbers are slow in engines.
    index, share = torch.cat(indices, dim=-1), torch.cat(shares, dim=-1)
    samples = rows.index_select(0, index.reshape(-1)).view(*index.shape, channels)
    return (share.to(value.dtype)[..., None, :] @ samples)[..., 0, :]


def sample_grid(value: Tensor, size: Size, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Compute the same as `sample_gather` with `grid_sample`; same arguments and shapes."""
    height, width = size
    batch, _, heads, channels = value.shape
    # The operator takes one dtype for values and positions. Half is too coarse for positions, so both are
    # float32.
    maps = at_least_float32(value.permute(0, 2, 3, 1).reshape(batch * heads, channels, height, width))
    grid = (2 * torch.stack([x, y], dim=-1) - 1).transpose(1, 2).flatten(0, 1).to(maps.dtype)
    share = weights.transpose(1, 2).flatten(0, 1).to(maps.dtype)
    samples = F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    total = (samples * share[:, None]).sum(-1).to(value.dtype)
    return total.view(batch, heads, channels, -1).permute(0, 3, 1, 2)


class DeformableAttention(nn.Module):
    """Every query samples `num_points` learned positions per head and level.

    Attributes:
        lowering: "grid_sample" (fastest in PyTorch) or "gather" (elementary operators only, for export).
    """

    def __init__(self, dim: int, num_heads: int, num_levels: int = 3, num_points: int = 4) -> None:
        super().__init__()
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.lowering: Lowering = "grid_sample"
        samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(dim, 2 * samples)
        self.attention_weights = nn.Linear(dim, samples)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)

    def forward(self, query: Tensor, points: Tensor, memory: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Attend.

        Args:
            query: (B, L, D).
            points: (L, 2), the reference point of each query, x and y in [0, 1], float32.
            memory: (B, S, D), the pixels of the levels, flattened and concatenated.
            sizes: height and width of each level, in the order of `memory`.

        Returns:
            (B, L, D).
        """
        batch, length, dim = query.shape
        shape = (batch, length, self.num_heads, self.num_levels, self.num_points)
        value = self.value_proj(memory).view(batch, -1, self.num_heads, dim // self.num_heads)
        offsets = at_least_float32(self.sampling_offsets(query)).view(*shape, 2)
        weights = at_least_float32(self.attention_weights(query)).view(*shape[:3], -1)
        weights = weights.softmax(-1).view(shape)
        sample = sample_gather if self.lowering == "gather" else sample_grid
        levels = value.split([height * width for height, width in sizes], dim=1)
        total = torch.zeros((), dtype=value.dtype, device=value.device)
        for level, (height, width) in enumerate(sizes):
            x = points[:, 0, None, None] + offsets[:, :, :, level, :, 0] / width
            y = points[:, 1, None, None] + offsets[:, :, :, level, :, 1] / height
            total = total + sample(levels[level], (height, width), x, y, weights[:, :, :, level])
        return self.output_proj(total.reshape(batch, length, dim))
