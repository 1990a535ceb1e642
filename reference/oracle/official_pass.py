"""The backbone as the official code runs it: window by window, with results that the model never uses.

It is the baseline of the benchmarks, and the check of `reference.model.diffusion`, which calls the same
modules one by one. Here diffusers, transformers and open_clip run their own complete forward passes, and
hooks record the inputs of the blocks that ODISE reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reference.model.backbone import Backbone
from reference.model.bicubic import resize_bicubic
from reference.model.captioner import Captioner
from reference.model.clock import Clock, untimed
from reference.model.diffusion import Diffusion, empty_caption
from reference.model.windows import extract_windows, join


class DiffusionRun(NamedTuple):
    """All results of the official extractor for one window. The model uses `features` only.

    Attributes:
        latent_image, noisy_latent: (1, 4, P/8, P/8), the latent without and with noise.
        features: the eight raw features, in order.
        unet_out: (1, 4, P/8, P/8), the predicted noise.
        decoded: (1, 3, P, P), the window after a round trip through the autoencoder, in [-1, 1].
        caption: (1, 77, C), the text encoder's embedding of ""; None if the preset has no text encoder.
    """

    latent_image: Tensor
    noisy_latent: Tensor
    features: tuple[Tensor, ...]
    unet_out: Tensor
    decoded: Tensor
    caption: Tensor | None


def image_features(backbone: Backbone, image: Tensor, clock: Clock = untimed) -> tuple[Tensor, ...]:
    """Return (s2, s3, s4, s5) of one whole image (1, 3, H, W) in [0, 1], H and W multiples of 64."""
    windows, origins = extract_windows(image, backbone.window)
    pyramids = [window_features(backbone, window, clock) for window in windows.split(1)]
    with clock("stitch"):
        batched = [torch.cat(level) for level in zip(*pyramids, strict=True)]
        return join(batched, origins, *image.shape[-2:])


def window_features(backbone: Backbone, window: Tensor, clock: Clock = untimed) -> tuple[Tensor, ...]:
    """Return (s2, s3, s4, s5) of one window (1, 3, S, S) in [0, 1]."""
    with clock("captioner"):
        cond_inputs, cond_emb = caption(backbone.feature_extractor, window)
    with clock("features"):
        image = resize_bicubic(window, backbone.window)
        run = diffuse(backbone.diffusion, image, cond_inputs, cond_emb)
        return backbone.project(run.features, window.shape[-1])


def caption(captioner: Captioner, window: Tensor) -> tuple[Tensor, Tensor]:
    """Return (cond_inputs, cond_emb) of one window, with open_clip's whole vision transformer."""
    clip = captioner.clip
    return captioner.condition(clip.encode_image(clip.normalise(captioner.view(window))))


def diffuse(diffusion: Diffusion, image: Tensor, cond_inputs: Tensor, cond_emb: Tensor) -> DiffusionRun:
    """Run the whole autoencoder, text encoder and UNet on one window (1, 3, P, P) in [0, 1]."""
    vae, unet = diffusion.vae, diffusion.unet
    with _inputs(_read_blocks(diffusion)) as features:
        latent = vae.encode(image * 2 - 1).latent_dist.mode() * diffusion.scale_factor
        text = None if diffusion.cond_stage is None else empty_caption(diffusion.cond_stage, latent.device)
        noisy = diffusion.add_noise(latent)
        with _shifted(unet.time_embedding, cond_emb):
            unet_out = unet(noisy, 0, encoder_hidden_states=cond_inputs).sample
        decoded = vae.decode(latent / diffusion.scale_factor).sample
    return DiffusionRun(latent, noisy, tuple(features), unet_out, decoded, text)


def _read_blocks(diffusion: Diffusion) -> list[nn.Module]:
    encoder, decoder = diffusion.vae.encoder.down_blocks, diffusion.vae.decoder.up_blocks
    blocks = [*encoder[-2:], *diffusion.unet.up_blocks, *decoder[:2]]
    return [block.resnets[-1] for block in blocks]


@contextmanager
def _inputs(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Record the first argument of every module, in the order they run."""
    seen: list[Tensor] = []
    hooks = [module.register_forward_pre_hook(lambda _, args: seen.append(args[0])) for module in modules]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _shifted(module: nn.Module, shift: Tensor) -> Iterator[None]:
    """Add `shift` to the output of the module."""
    hook = module.register_forward_hook(lambda _, args, output: output + shift)
    try:
        yield
    finally:
        hook.remove()
