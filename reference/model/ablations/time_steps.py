"""Diffusion steps other than t = 0, several steps, or one that is learnt (ODISE, ablations)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reference.model.diffusion import Diffusion
from reference.noise_schedule import FIRST_ALPHA_CUMPROD, STEPS, alphas_cumprod
from reference.preset import Preset


class SteppedDiffusion(Diffusion):
    """`Diffusion` at the steps of `preset.ablation.time_steps`.

    The encoder and the decoder read the image without noise, so they run once for all steps. The UNet runs
    once per step with the same noise. Its features are concatenated along channels in the order of the steps.

    Shapes: as `Diffusion`; the UNet's features have as many times the channels as there are steps.
    """

    alphas_cumprod: Tensor

    def __init__(self, preset: Preset) -> None:
        super().__init__(preset)
        steps = preset.ablation.time_steps
        self.step = LearnableStep() if steps == "learnable" else None
        self.steps = () if steps == "learnable" else steps
        kept = torch.from_numpy(alphas_cumprod()).float()
        self.register_buffer("alphas_cumprod", kept, persistent=False)

    def forward(self, image: Tensor, cond_inputs: Tensor, cond_emb: Tensor) -> tuple[Tensor, ...]:
        """The raw features, see the class and `STRIDES`."""
        mean, encoder = self.encode(image)
        latent = mean * self.scale_factor
        runs = []
        for step in self.steps if self.step is None else (self.step(),):
            noisy = self.add_noise(latent, self.kept(step))
            runs.append(self.denoise(noisy, cond_inputs, cond_emb, self.embed_step(step)))
        unet = (torch.cat(level, dim=1) for level in zip(*runs, strict=True))
        return *encoder, *unet, *self.decode(mean)

    def kept(self, step: int | Tensor) -> float | Tensor:
        """Return `alphas_cumprod` at a step, linearly interpolated between whole steps."""
        if not isinstance(step, Tensor):
            return FIRST_ALPHA_CUMPROD if step == 0 else float(alphas_cumprod()[step])
        # At most the last step but one, so that a next step exists.
        below = step.detach().floor().long().clamp(max=STEPS - 2)
        first, second = self.alphas_cumprod[below], self.alphas_cumprod[below + 1]
        return first + (step - below) * (second - first)

    def embed_step(self, step: int | Tensor) -> Tensor:
        """Return the UNet's embedding of a step, (1, T). The step may be a fraction."""
        weight = self.unet.time_embedding.linear_1.weight
        time = step if isinstance(step, Tensor) else torch.tensor(float(step), device=weight.device)
        return self.unet.time_embedding(self.unet.time_proj(time[None]).to(weight.dtype))


class LearnableStep(nn.Module):
    """One diffusion step as a parameter.

    The step is 999 times the sigmoid of the parameter. So it stays in range, and the learning rate of the
    weights suits it. It starts at a random step, all equally likely. Its gradient comes from the amount of
    noise and from the UNet's time embedding.
    """

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw a random step."""
        with torch.no_grad():
            self.position.copy_(torch.rand(()).logit(eps=1e-3))

    def forward(self) -> Tensor:
        """Return the step, a scalar in [0, 999]."""
        return (STEPS - 1) * self.position.sigmoid()
