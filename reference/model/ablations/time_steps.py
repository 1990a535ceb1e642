"""Diffusion steps other than t = 0, several at once, or one that is learnt (ODISE, ablations)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reference.model.diffusion import Diffusion
from reference.noise_schedule import FIRST_ALPHA_CUMPROD, STEPS, alphas_cumprod
from reference.preset import Preset


class SteppedDiffusion(Diffusion):
    """`Diffusion` at the steps of `preset.ablation.time_steps`.

    The encoder and the decoder see the clean image whatever the step, and run once; the UNet runs once per
    step, with the same noise, and its features are joined along channels in the order of the steps.

    Shapes: as `Diffusion`, with as many times the channels in the UNet's features as there are steps.
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
        """`alphas_cumprod` at a step; between two whole steps on the line that joins their values."""
        if not isinstance(step, Tensor):
            return FIRST_ALPHA_CUMPROD if step == 0 else float(alphas_cumprod()[step])
        # Up to the last but one, so that there is a next.
        below = step.detach().floor().long().clamp(max=STEPS - 2)
        first, second = self.alphas_cumprod[below], self.alphas_cumprod[below + 1]
        return first + (step - below) * (second - first)

    def embed_step(self, step: int | Tensor) -> Tensor:
        """The UNet's embedding of a step, (1, T); a step need not be whole."""
        weight = self.unet.time_embedding.linear_1.weight
        time = step if isinstance(step, Tensor) else torch.tensor(float(step), device=weight.device)
        return self.unet.time_embedding(self.unet.time_proj(time[None]).to(weight.dtype))


class LearnableStep(nn.Module):
    """One diffusion step as a parameter.

    The step is 999 times the sigmoid of the parameter: it stays in range, and a learning rate that suits
    weights moves it. It starts anywhere in the range, all steps equally likely. The gradient reaches it
    through how much noise is added and through the UNet's time embedding.
    """

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """A random step."""
        with torch.no_grad():
            self.position.copy_(torch.rand(()).logit(eps=1e-3))

    def forward(self) -> Tensor:
        """The step, a scalar in [0, 999]."""
        return (STEPS - 1) * self.position.sigmoid()
