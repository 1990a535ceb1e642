"""Mask2Former's pixel decoder (arXiv 2112.01527, sec. 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference.model.deformable_attention import DeformableAttention, Size
from reference.model.position import sine_position
from reference.model.projections import GROUPS, NormedConv2d
from reference.preset import HeadPreset


class PixelDecoderOutput(NamedTuple):
    """The input of the mask decoder.

    Attributes:
        mask_features: (B, mask_dim, H/4, W/4). The product with a query's embedding is the query's mask.
        levels: (B, conv_dim, ...) at strides 32, 16 and 8, attended by the queries in turn.
    """

    mask_features: Tensor
    levels: tuple[Tensor, Tensor, Tensor]


class EncoderLayer(nn.Module):
    """Deformable self-attention over all levels and a feed-forward network, each normalised after the sum."""

    def __init__(self, dim: int, num_heads: int, feedforward: int) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(dim, num_heads)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, feedforward)
        self.linear2 = nn.Linear(feedforward, dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, memory: Tensor, position: Tensor, points: Tensor, sizes: list[Size]) -> Tensor:
        """memory and position (B, S, D), points (S, 2) -> (B, S, D)."""
        memory = self.norm1(memory + self.self_attn(memory + position, points, memory, sizes))
        return self.norm2(memory + self.linear2(self.linear1(memory).relu()))


class Encoder(nn.Module):
    """The stack of encoder layers."""

    def __init__(self, preset: HeadPreset) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(preset.conv_dim, preset.num_heads, preset.enc_feedforward)
            for _ in range(preset.enc_layers)
        )

    def forward(self, memory: Tensor, position: Tensor, sizes: list[Size]) -> Tensor:
        """memory and position (B, S, D) -> (B, S, D)."""
        points = reference_points(sizes, memory)
        for layer in self.layers:
            memory = layer(memory, position, points, sizes)
        return memory


class DeformableTransformer(nn.Module):
    """Encodes all levels as one sequence. A learned embedding per level is added to their positions."""

    def __init__(self, preset: HeadPreset) -> None:
        super().__init__()
        self.encoder = Encoder(preset)
        self.level_embed = nn.Parameter(torch.zeros(3, preset.conv_dim))

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Three maps (B, D, h, w), coarse to fine -> the same shapes."""
        sizes = [(level.shape[2], level.shape[3]) for level in levels]
        memory = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
        position = torch.cat(
            [
                sine_position(height, width, memory.shape[2], memory) + self.level_embed[index]
                for index, (height, width) in enumerate(sizes)
            ],
            dim=1,
        )
        memory = self.encoder(memory, position, sizes)
        parts = memory.split([height * width for height, width in sizes], dim=1)
        return [part.transpose(1, 2).unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]


class PixelDecoder(nn.Module):
    """Deformable encoder over strides 32, 16, 8, and one feature-pyramid step up to stride 4."""

    def __init__(self, preset: HeadPreset) -> None:
        super().__init__()
        dim, channels = preset.conv_dim, preset.projection_dim
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, dim, 1), nn.GroupNorm(GROUPS, dim)) for _ in range(3)
        )
        self.transformer = DeformableTransformer(preset)
        self.adapter_1 = NormedConv2d(channels, dim, 1)
        self.layer_1 = NormedConv2d(dim, dim, 3)
        self.mask_features = nn.Conv2d(dim, preset.mask_dim, 1)

    def forward(self, s2: Tensor, s3: Tensor, s4: Tensor, s5: Tensor) -> PixelDecoderOutput:
        """(B, projection_dim, H/k, W/k) with k = 4, 8, 16, 32."""
        coarse_to_fine = zip(self.input_proj, (s5, s4, s3), strict=True)
        levels = self.transformer([project(level) for project, level in coarse_to_fine])
        up = F.interpolate(levels[2], size=s2.shape[-2:], mode="bilinear", align_corners=False)
        finest = self.layer_1(self.adapter_1(s2) + up).relu()
        return PixelDecoderOutput(self.mask_features(finest), (levels[0], levels[1], levels[2]))


def reference_points(sizes: list[Size], like: Tensor) -> Tensor:
    """Centres of all pixels of all levels, x and y in [0, 1]: (sum of h*w, 2), at least float32."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    points = []
    for height, width in sizes:
        y = (torch.arange(height, dtype=dtype, device=like.device) + 0.5) / height
        x = (torch.arange(width, dtype=dtype, device=like.device) + 0.5) / width
        grid = [x[None, :].expand(height, width), y[:, None].expand(height, width)]
        points.append(torch.stack(grid, dim=-1).reshape(height * width, 2))
    return torch.cat(points)
