"""Train the small diffusion model: predict the noise in the latents of captioned windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor
from torch.nn import functional as F

from reference.demo.crops import window
from reference.demo.fit import Schedule, fit
from reference.demo.scene_store import SceneStore
from reference.demo.train_clip import text_states, to_planes
from reference.model.clip import Clip
from reference.model.diffusion import Diffusion
from reference.model.open_vocabulary import tokenize

#: Share of empty captions in training: the model also has to work without a caption.
EMPTY_CAPTIONS = 0.1


def train(
    diffusion: Diffusion, clip: Clip, store: SceneStore, side: int, schedule: Schedule, checkpoint: Path
) -> list[float]:
    """Train the UNet to predict noise at all time steps, conditioned on the frozen CLIP's text states."""
    # The schedule of Stable Diffusion 1.x.
    noising = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    unet = diffusion.unet

    def loss(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        samples = [window(store, rng, side) for _ in range(schedule.batch)]
        captions = ["" if rng.random() < EMPTY_CAPTIONS else sample.caption for sample in samples]
        with torch.no_grad():
            planes = to_planes(samples).to(unet.device)
            latent = diffusion.encode(planes)[0] * diffusion.scale_factor
            states = text_states(clip, tokenize(captions, clip.preset.context_length))
        # Drawn on the CPU, because generators of other devices draw other numbers.
        noise = torch.randn(latent.shape, generator=generator).to(latent)
        steps = torch.randint(noising.config.num_train_timesteps, (len(samples),), generator=generator)
        steps = steps.to(latent.device)
        noisy = noising.add_noise(latent, noise, steps)
        return F.mse_loss(unet(noisy, steps, encoder_hidden_states=states).sample, noise)

    unet.requires_grad_(True)
    losses = fit("UNet", unet.named_parameters(), loss, schedule, checkpoint)
    unet.requires_grad_(False)
    return losses
