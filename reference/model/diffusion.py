"""Stable Diffusion 1.x as a feature extractor: raw features of one denoising step at t = 0.

The modules and their weights are those of diffusers. The forward passes are written out here, block by block.
They return the inputs of the blocks that ODISE reads, and they skip what comes after the last of these: the
UNet stops before its twelfth output block, the decoder in its second stage of four.
`reference.oracle.official_pass` runs every block.
"""

from __future__ import annotations

from typing import Any

from reference import torchvision_free  # noqa: F401

# isort: split
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel

from reference.model.attention import attention, merge_heads, split_heads
from reference.noise_schedule import FIRST_ALPHA_CUMPROD
from reference.preset import CondStagePreset, Preset, UNetPreset, VaePreset

#: Stride of each raw feature, in the order in which they are returned.
STRIDES = (4, 8, 64, 32, 16, 8, 8, 4)
#: Stable Diffusion's tokens of the empty caption: one start of text, then end of text up to the full length.
START_OF_TEXT, END_OF_TEXT = 49406, 49407


class Diffusion(nn.Module):
    """The frozen UNet and autoencoder, and the noise that is added to every window.

    Shapes:
        image        (W, 3, P, P)  RGB in [0, 1]
        cond_inputs  (W, 77, C)
        cond_emb     (W, T)
        -> eight raw features: two of the encoder, four of the UNet (deepest first), two of the decoder
    """

    shared_noise: Tensor

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.scale_factor = preset.vae.scale_factor
        # Any: diffusers and transformers do not annotate the submodules of their models.
        self.unet: Any = build_unet(preset.unet)
        self.vae: Any = build_vae(preset.vae)
        self.cond_stage = None if preset.cond_stage is None else build_cond_stage(preset.cond_stage)
        shape = (1, preset.unet.latent_channels, preset.latent_side, preset.latent_side)
        self.register_buffer("shared_noise", torch.zeros(shape))
        self.requires_grad_(False)

    def forward(self, image: Tensor, cond_inputs: Tensor, cond_emb: Tensor) -> tuple[Tensor, ...]:
        """Return the raw features, see the class and `STRIDES`."""
        mean, encoder = self.encode(image)
        latent = self.add_noise(mean * self.scale_factor)
        return *encoder, *self.denoise(latent, cond_inputs, cond_emb), *self.decode(mean)

    def add_noise(self, latent: Tensor, kept: float | Tensor = FIRST_ALPHA_CUMPROD) -> Tensor:
        """Sample the forward process: add noise, the same to every window.

        Args:
            latent: (W, 4, P/8, P/8).
            kept: share of the latent's variance that remains (`alphas_cumprod`). Default: that of t = 0.
        """
        signal, noise = kept**0.5, (1 - kept) ** 0.5
        return signal * latent + noise * self.shared_noise

    def encode(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the mean of the posterior (W, 4, P/8, P/8) and the inputs of two residual blocks."""
        encoder, taps = self.vae.encoder, []
        x = encoder.conv_in(image * 2 - 1)
        for level, block in enumerate(encoder.down_blocks):
            *resnets, last = block.resnets
            for resnet in resnets:
                x = resnet(x, None)
            if level >= 2:
                taps.append(x)
            x = last(x, None)
            for downsampler in block.downsamplers or ():
                x = downsampler(x)
        x = encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(_middle(encoder.mid_block, x))))
        mean, _ = self.vae.quant_conv(x).chunk(2, dim=1)
        return mean, (taps[0], taps[1])

    def denoise(
        self, latent: Tensor, cond_inputs: Tensor, cond_emb: Tensor, time_emb: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return the input of the last block of every upsampling level of the UNet, deepest first.

        `time_emb` (1, T) is the embedding of the step. Default: that of t = 0.
        """
        unet, taps = self.unet, []
        emb = (self.time_embedding() if time_emb is None else time_emb) + cond_emb
        x = unet.conv_in(latent)
        skips = [x]
        for block in unet.down_blocks:
            for resnet, transformer in zip(block.resnets, _transformers(block), strict=True):
                x = _attend(transformer, resnet(x, emb), cond_inputs)
                skips.append(x)
            for downsampler in block.downsamplers or ():
                x = downsampler(x)
                skips.append(x)
        first, second = unet.mid_block.resnets
        x = second(_attend(unet.mid_block.attentions[0], first(x, emb), cond_inputs), emb)
        for level, block in enumerate(unet.up_blocks):
            *pairs, (resnet, transformer) = zip(block.resnets, _transformers(block), strict=True)
            for earlier, earlier_transformer in pairs:
                x = earlier(torch.cat((x, skips.pop()), dim=1), emb)
                x = _attend(earlier_transformer, x, cond_inputs)
            taps.append(torch.cat((x, skips.pop()), dim=1))
            if level + 1 < len(unet.up_blocks):
                x = _attend(transformer, resnet(taps[-1], emb), cond_inputs)
                x = _upsample(block.upsamplers[0], x)
        return tuple(taps)

    def time_embedding(self) -> Tensor:
        """The UNet's embedding of t = 0, (1, T)."""
        half = self.unet.conv_in.out_channels // 2
        weight = self.unet.time_embedding.linear_1.weight
        # cos(0) of every frequency, then sin(0).
        sinusoid = F.pad(torch.ones(1, half, dtype=weight.dtype, device=weight.device), (0, half))
        return self.unet.time_embedding(sinusoid)

    def decode(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs of the last residual block of the decoder's first two levels.

        The decoder reads the latent without noise, so its features do not depend on the UNet.
        """
        decoder = self.vae.decoder
        first, second = decoder.up_blocks[:2]
        x = _middle(decoder.mid_block, decoder.conv_in(self.vae.post_quant_conv(mean)))
        for resnet in first.resnets[:-1]:
            x = resnet(x, None)
        coarse = x
        x = _upsample(first.upsamplers[0], first.resnets[-1](x, None))
        for resnet in second.resnets[:-1]:
            x = resnet(x, None)
        return coarse, x


def raw_channels(preset: Preset) -> tuple[int, ...]:
    """Widths of the raw features, in their order."""
    unet = [preset.unet.model_channels * m for m in preset.unet.channel_mult]
    vae = [preset.vae.channels * m for m in preset.vae.channel_mult]
    # A UNet feature has the channels of its level and those of the skip connection, once per run.
    runs = preset.ablation.runs
    joined = [runs * (width + unet[max(level - 1, 0)]) for level, width in enumerate(unet)]
    return (vae[-2], vae[-1], *reversed(joined), vae[-1], vae[-2])


def build_unet(preset: UNetPreset) -> UNet2DConditionModel:
    """Build LDM's UNet from diffusers' modules, without weights."""
    down = ["CrossAttnDownBlock2D" if has else "DownBlock2D" for has in preset.attention_levels]
    up = ["CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(preset.attention_levels)]
    unet: Any = UNet2DConditionModel(
        in_channels=preset.latent_channels,
        out_channels=preset.latent_channels,
        block_out_channels=tuple(preset.model_channels * m for m in preset.channel_mult),
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        layers_per_block=preset.num_res_blocks,
        cross_attention_dim=preset.context_dim,
        # diffusers' name for the number of heads in models of this generation.
        attention_head_dim=preset.num_heads,
        norm_num_groups=preset.norm_groups,
    )
    unet.set_attn_processor(AttentionProcessor())
    return unet


def build_vae(preset: VaePreset) -> AutoencoderKL:
    """Build LDM's KL autoencoder from diffusers' modules, without weights."""
    levels = len(preset.channel_mult)
    vae: Any = AutoencoderKL(
        latent_channels=preset.latent_channels,
        block_out_channels=tuple(preset.channels * m for m in preset.channel_mult),
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=preset.num_res_blocks,
        norm_num_groups=preset.norm_groups,
        scaling_factor=preset.scale_factor,
    )
    vae.set_attn_processor(AttentionProcessor())
    return vae


def build_cond_stage(preset: CondStagePreset) -> nn.Module:
    """Build Stable Diffusion's text encoder, without weights."""
    config = CLIPTextConfig(
        vocab_size=preset.vocab_size,
        hidden_size=preset.width,
        intermediate_size=4 * preset.width,
        num_hidden_layers=preset.layers,
        num_attention_heads=preset.heads,
        max_position_embeddings=preset.max_length,
        hidden_act="quick_gelu",
    )
    model = CLIPTextModel(config)
    # transformers before version 5 wraps the encoder once more.
    return getattr(model, "text_model", model)


def empty_caption(cond_stage: Any, device: torch.device | str = "cpu") -> Tensor:
    """Return the text encoder's embedding of "": (1, 77, C), after its last norm.

    Stable Diffusion pads with the end of text, and does not mask the padding. OpenAI's tokenizer, which pads
    with 0, would give another embedding.
    """
    length = cond_stage.embeddings.position_embedding.num_embeddings
    tokens = torch.full((1, length), END_OF_TEXT, device=device)
    tokens[0, 0] = START_OF_TEXT
    return cond_stage(tokens).last_hidden_state


class AttentionProcessor:
    """Makes diffusers' attention blocks compute with `reference.model.attention`, with their own weights."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: None = None,
        temb: None = None,
    ) -> Tensor:
        """Attend: tokens (W, N, width), or a map (W, width, H, W) with its residual connection.

        diffusers passes `attention_mask` and `temb` by name; Stable Diffusion 1.x uses neither.
        """
        x = hidden_states
        if x.ndim == 4:
            x = attn.group_norm(x).flatten(2).transpose(1, 2)
        context = x if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (
            split_heads(part, attn.heads) for part in (attn.to_q(x), attn.to_k(context), attn.to_v(context))
        )
        x = attn.to_out[0](merge_heads(attention(q, k, v)))
        if hidden_states.ndim == 4:
            x = x.transpose(1, 2).unflatten(2, hidden_states.shape[2:]) + hidden_states
        return x


def _transformers(block: Any) -> list[Any]:
    return list(getattr(block, "attentions", None) or [None] * len(block.resnets))


def _attend(transformer: Any, x: Tensor, cond_inputs: Tensor) -> Tensor:
    if transformer is None:
        return x
    return transformer(x, encoder_hidden_states=cond_inputs, return_dict=False)[0]


def _middle(block: Any, x: Tensor) -> Tensor:
    first, second = block.resnets
    return second(block.attentions[0](first(x, None)), None)


def _upsample(upsampler: Any, x: Tensor) -> Tensor:
    # The forward pass of diffusers reads the batch size, which a graph with a dynamic batch does not know.
    return upsampler.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
