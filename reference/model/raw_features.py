"""The raw diffusion features of windows, at any diffusion step: what other work takes from ODISE."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference.model.backbone import PYRAMID, Backbone
from reference.model.bicubic import resize_bicubic
from reference.model.diffusion import STRIDES, Diffusion
from reference.noise_schedule import FIRST_ALPHA_CUMPROD, alphas_cumprod


class RawFeatures(nn.Module):
    """The eight raw features of windows. The diffusion step is an input.

    At step 0 they are exactly those of `Diffusion`, from which the backbone makes its pyramid.

    Shapes:
        windows      (W, 3, S, S)  RGB in [0, 1], S <= P
        cond_inputs  (W, 77, C)
        cond_emb     (W, T)
        time_step    (1,)          int64, 0 to 999, the same for all windows
        -> eight features (W, Ci, S/stride, S/stride), see `STRIDES`
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.window = backbone.window
        self.diffusion = backbone.diffusion
        self.mixture = Mixture()

    def forward(
        self, windows: Tensor, cond_inputs: Tensor, cond_emb: Tensor, time_step: Tensor
    ) -> tuple[Tensor, ...]:
        """See the class."""
        enlarged = resize_bicubic(windows, self.window)
        return fitted(self.at_step(enlarged, cond_inputs, cond_emb, time_step), windows.shape[-1])

    def at_step(
        self, image: Tensor, cond_inputs: Tensor, cond_emb: Tensor, time_step: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the raw features of (W, 3, P, P), as `Diffusion` does."""
        diffusion = self.diffusion
        mean, encoder = diffusion.encode(image)
        signal, noise = self.mixture(time_step)
        noisy = signal * (mean * diffusion.scale_factor) + noise * diffusion.shared_noise
        time_emb = embedding_of(diffusion, time_step)
        return *encoder, *diffusion.denoise(noisy, cond_inputs, cond_emb, time_emb), *diffusion.decode(mean)


class Mixture(nn.Module):
    """The factors of latent and noise at every diffusion step.

    The square roots are taken in double precision, as `Diffusion.add_noise` takes them. So step 0 is exact.
    """

    signal: Tensor
    noise: Tensor

    def __init__(self) -> None:
        super().__init__()
        kept = torch.from_numpy(alphas_cumprod())
        kept[0] = FIRST_ALPHA_CUMPROD
        self.register_buffer("signal", kept.sqrt().float(), persistent=False)
        self.register_buffer("noise", (1 - kept).sqrt().float(), persistent=False)

    def forward(self, time_step: Tensor) -> tuple[Tensor, Tensor]:
        """Return both factors of a step (1,), each (1, 1, 1, 1)."""
        return self.signal[time_step].reshape(1, 1, 1, 1), self.noise[time_step].reshape(1, 1, 1, 1)


def embedding_of(diffusion: Diffusion, time_step: Tensor) -> Tensor:
    """Return the UNet's embedding of a step (1,): (1, T)."""
    weight = diffusion.unet.time_embedding.linear_1.weight
    return diffusion.unet.time_embedding(diffusion.unet.time_proj(time_step).to(weight.dtype))


def fitted(raw: Sequence[Tensor], side: int) -> tuple[Tensor, ...]:
    """Resize raw features to windows of `side` pixels, as the backbone does after it enlarged the windows."""
    features = []
    for feature, stride in zip(raw, STRIDES, strict=True):
        # A window of 64 pixels has one place of stride 64. Tracing takes a size of one for a constant, so the
        # feature is resized to twice the size, and every second place is taken: nearest gives the same.
        finer = min(stride, PYRAMID[-1])
        resized = F.interpolate(feature, size=(side // finer, side // finer), mode="nearest")
        features.append(resized[..., :: stride // finer, :: stride // finer])
    return tuple(features)
