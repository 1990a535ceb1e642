"""Train the small autoencoder, which maps windows of scenes to latents and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reference.demo.crops import window
from reference.demo.fit import Schedule, fit
from reference.demo.scene_store import SceneStore
from reference.demo.train_clip import to_planes

#: Weight of the KL divergence, that of latent diffusion (arXiv 2112.10752).
KL_WEIGHT = 1e-6


def train(vae: Any, store: SceneStore, side: int, schedule: Schedule, checkpoint: Path) -> list[float]:
    """Train the autoencoder on windows of `side` pixels."""

    def loss(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        image = to_planes([window(store, rng, side) for _ in range(schedule.batch)]) * 2 - 1
        return reconstruction_loss(vae, image.to(vae.device), generator)

    vae.requires_grad_(True)
    losses = fit("autoencoder", vae.named_parameters(), loss, schedule, checkpoint)
    vae.requires_grad_(False)
    return losses


def reconstruction_loss(vae: Any, image: Tensor, generator: torch.Generator) -> Tensor:
    """Return the L1 loss of pixels plus that of edges (differences of neighbours) plus the KL divergence."""
    posterior = vae.encode(image).latent_dist
    again = vae.decode(posterior.sample(generator)).sample
    edges = sum(F.l1_loss(again.diff(dim=axis), image.diff(dim=axis)) for axis in (-1, -2))
    return F.l1_loss(again, image) + edges + KL_WEIGHT * posterior.kl().mean()


@torch.no_grad()
def normalise_latents(vae: Any, store: SceneStore, side: int, scale_factor: float) -> float:
    """Scale the latents so that their standard deviation times `scale_factor` is one.

    Latent diffusion measures its scale factor on a batch. Here the factor is a constant of the graph, so the
    weights before and after the latent are scaled instead. Reconstructions do not change.

    Returns:
        The standard deviation times `scale_factor` before.
    """
    rng = np.random.default_rng(0)
    image = to_planes([window(store, rng, side) for _ in range(64)]) * 2 - 1
    deviation = float(vae.encode(image.to(vae.device)).latent_dist.mean.std() * scale_factor)
    latent = vae.quant_conv.out_channels // 2
    # The first half is the mean, the second the logarithm of the variance.
    vae.quant_conv.weight[:latent] /= deviation
    vae.quant_conv.bias[:latent] /= deviation
    vae.quant_conv.bias[latent:] -= 2 * float(np.log(deviation))
    vae.post_quant_conv.weight *= deviation
    return deviation
