"""Implicit captioner: conditions the diffusion model on a window (paper section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reference.model.bicubic import resize_bicubic
from reference.model.clip import Clip
from reference.preset import Preset


class Captioner(nn.Module):
    """Projects the CLIP embedding of a window to a text embedding and to a shift of the time embedding.

    Both are multiplied by a gate, the tanh of a learned value that starts at zero. So an untrained captioner
    gives the embedding of the empty caption.

    Shapes:
        windows      (W, 3, S, S)  RGB in [0, 1], S <= P
        cond_inputs  (W, 77, C)    implicit text embedding, conditions the UNet
        cond_emb     (W, T)        added to the time embedding
    """

    uncond_inputs: Tensor

    def __init__(self, preset: Preset, clip: Clip) -> None:
        super().__init__()
        length = clip.preset.context_length
        context, time = preset.unet.context_dim, preset.unet.time_embed_dim
        self.window = preset.window
        self.clip = clip
        self.alpha_cond = nn.Parameter(torch.zeros(1, length, context))
        self.alpha_cond_time_embed = nn.Parameter(torch.zeros(time))
        self.clip_project = PositionalLinear(clip.preset.embed_dim, context, length)
        self.time_embed_project = PositionalLinear(clip.preset.embed_dim, time, 1)
        # Stable Diffusion's embedding of "", which comes with the weights.
        self.register_buffer("uncond_inputs", torch.zeros(1, length, context))

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """(cond_inputs, cond_emb) of a batch of windows."""
        return self.condition(self.clip.embed_image(self.view(windows)))

    def unconditional(self, count: int) -> tuple[Tensor, Tensor]:
        """(cond_inputs, cond_emb) of the empty caption for `count` windows."""
        shift = self.uncond_inputs.new_zeros(count, self.alpha_cond_time_embed.shape[0])
        return self.uncond_inputs.expand(count, -1, -1), shift

    def view(self, windows: Tensor) -> Tensor:
        """Resize windows to CLIP's input (W, 3, I, I), RGB in [0, 1] up to the overshoot of resizing."""
        side = self.clip.preset.image_size
        image = resize_bicubic(windows, self.window)
        return resize_bicubic(image, side)

    def condition(self, image_embed: Tensor) -> tuple[Tensor, Tensor]:
        """(cond_inputs, cond_emb) from the CLIP embedding (W, E) of the windows."""
        cond_inputs = self.uncond_inputs + self.alpha_cond.tanh() * self.clip_project(image_embed)
        cond_emb = self.alpha_cond_time_embed.tanh() * self.time_embed_project(image_embed)[:, 0]
        return cond_inputs, cond_emb


class PositionalLinear(nn.Module):
    """Turns a vector into a sequence: its projection plus a learned embedding of the position.

    Shapes:
        (W, inputs) -> (W, length, outputs)
    """

    def __init__(self, inputs: int, outputs: int, length: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.zeros(1, length, outputs))
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.linear(x)[:, None] + self.positional_embedding
