"""A diffusion model of single convolutions: what a stage does around one is exported in seconds."""

from __future__ import annotations

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn
from torch.nn import functional as F

from reference.model.diffusion import STRIDES, raw_channels
from reference.preset import Preset


class SmallDiffusion(nn.Module):
    """It has the methods of `reference.model.diffusion.Diffusion`, and the shapes of its features."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.scale_factor = preset.vae.scale_factor
        side, widths = preset.latent_side, raw_channels(preset)
        self.register_buffer("shared_noise", torch.randn(1, 4, side, side))
        self.unet = nn.Module()
        self.unet.time_proj = Timesteps(32, True, 0)
        self.unet.time_embedding = TimestepEmbedding(32, preset.unet.time_embed_dim)
        self.shift = nn.Linear(preset.unet.time_embed_dim, 4)
        self.latent = nn.Conv2d(3, 4, 8, stride=8)
        self.encoder = nn.ModuleList(nn.Conv2d(3, widths[i], STRIDES[i], stride=STRIDES[i]) for i in (0, 1))
        sides = [STRIDES[i] // 8 for i in range(2, 6)]
        self.levels = nn.ModuleList(
            nn.Conv2d(4, width, side, stride=side) for width, side in zip(widths[2:6], sides, strict=True)
        )
        self.decoder = nn.ModuleList(nn.Conv2d(4, widths[i], 1) for i in (6, 7))

    def forward(self, image: Tensor, cond_inputs: Tensor, cond_emb: Tensor) -> tuple[Tensor, ...]:
        raise AssertionError("give a step")

    def encode(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self.latent(image), tuple(part(image) for part in self.encoder)

    def denoise(
        self, latent: Tensor, cond_inputs: Tensor, cond_emb: Tensor, time_emb: Tensor
    ) -> tuple[Tensor, ...]:
        told = self.shift(time_emb + cond_emb) + cond_inputs.mean(dim=(1, 2))[:, None]
        return tuple(level(latent + told[..., None, None]) for level in self.levels)

    def decode(self, mean: Tensor) -> tuple[Tensor, ...]:
        coarse, fine = self.decoder
        return coarse(mean), F.interpolate(fine(mean), scale_factor=2.0, mode="nearest")
