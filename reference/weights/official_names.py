"""The key table: from the parameter names of this code to the names in the official checkpoints.

The trainable part has its official names here too. The frozen parts are modules of diffusers, transformers
and open_clip, which name them differently. Each row maps one of their modules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from reference.preset import Preset, UNetPreset, VaePreset

LDM = "backbone.feature_extractor.ldm_extractor"
UNET = f"{LDM}.ldm.ldm.model.diffusion_model"
VAE = f"{LDM}.ldm.ldm.first_stage_model"
COND_STAGE = f"{LDM}.ldm.ldm.cond_stage_model.transformer.text_model"
SCHEDULE = f"{LDM}.ldm.ldm"

_CLIP = "backbone.feature_extractor.clip"
#: The first of the copies of CLIP in official files, and the one that converted files have.
CLIP = f"{_CLIP}.clip"
_DIFFUSION = "backbone.diffusion"


@dataclass(frozen=True)
class Row:
    """One module of the table.

    Attributes:
        ours: its path here.
        official: its paths in the official files, which may hold several copies.
        parts: submodules that are named differently, ours -> official.
        pointwise: its linear layers are 1x1 convolutions in the official files.
    """

    ours: str
    official: tuple[str, ...]
    parts: Mapping[str, str] = field(default_factory=dict)
    pointwise: bool = False

    def names(self, tail: str) -> tuple[str, ...]:
        """Return the official names of the tensor `tail` ("conv1.weight") of this module."""
        for ours, official in self.parts.items():
            if tail.startswith(f"{ours}."):
                tail = official + tail[len(ours) :]
                break
        return tuple(f"{path}.{tail}" if tail else path for path in self.official)


class ConversionTable:
    """The rows of a preset. A tensor belongs to the row with the longest matching path."""

    def __init__(self, preset: Preset) -> None:
        self._rows = {row.ours: row for row in _rows(preset)}

    def row(self, name: str) -> Row | None:
        """Return the row of the tensor called `name` here. None: the official name is the same."""
        path = name
        while path not in self._rows and "." in path:
            path = path.rpartition(".")[0]
        return self._rows.get(path)

    def official_names(self, name: str) -> tuple[str, ...]:
        """Return the official names of the tensor called `name` here, one per copy."""
        row = self.row(name)
        return (name,) if row is None else row.names(name[len(row.ours) + 1 :])


_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_RESNET = {"conv_shortcut": "nin_shortcut"}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def _rows(preset: Preset) -> Iterator[Row]:
    head = {"label": "category_head", "caption": "word_head"}[preset.kind]
    yield Row(_CLIP, (CLIP, f"{head}.clip.clip", "clip_head.clip.clip"))
    yield Row("backbone.feature_extractor.uncond_inputs", (f"{LDM}.ldm.uncond_inputs",))
    yield Row(f"{_DIFFUSION}.shared_noise", (f"{LDM}.shared_noise",))
    yield Row(f"{_DIFFUSION}.cond_stage", (COND_STAGE,))
    for ours, official, parts in _unet_rows(preset.unet):
        yield Row(f"{_DIFFUSION}.unet.{ours}", (f"{UNET}.{official}",), parts)
    for ours, official, parts in _vae_rows(preset.vae):
        pointwise = parts is _VAE_ATTENTION
        yield Row(f"{_DIFFUSION}.vae.{ours}", (f"{VAE}.{official}",), parts, pointwise)


def _unet_rows(preset: UNetPreset) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    levels, blocks = len(preset.channel_mult), preset.num_res_blocks
    yield "time_embedding.linear_1", "time_embed.0", {}
    yield "time_embedding.linear_2", "time_embed.2", {}
    yield "conv_in", "input_blocks.0.0", {}
    yield "conv_norm_out", "out.0", {}
    yield "conv_out", "out.2", {}
    yield "mid_block.resnets.0", "middle_block.0", _UNET_RESNET
    yield "mid_block.attentions.0", "middle_block.1", {}
    yield "mid_block.resnets.1", "middle_block.2", _UNET_RESNET
    # LDM numbers blocks across levels. Downwards, after the first convolution, a level is its residual blocks
    # and a downsampler. Upwards, it has one residual block more, and the last one holds the upsampler.
    for level in range(levels):
        for block in range(blocks):
            official = f"input_blocks.{1 + level * (blocks + 1) + block}"
            yield f"down_blocks.{level}.resnets.{block}", f"{official}.0", _UNET_RESNET
            yield f"down_blocks.{level}.attentions.{block}", f"{official}.1", {}
        downsampler = f"input_blocks.{(level + 1) * (blocks + 1)}.0.op"
        yield f"down_blocks.{level}.downsamplers.0.conv", downsampler, {}
    for level, has_attention in enumerate(reversed(preset.attention_levels)):
        for block in range(blocks + 1):
            official = f"output_blocks.{level * (blocks + 1) + block}"
            yield f"up_blocks.{level}.resnets.{block}", f"{official}.0", _UNET_RESNET
            yield f"up_blocks.{level}.attentions.{block}", f"{official}.1", {}
        place = 2 if has_attention else 1
        upsampler = f"output_blocks.{level * (blocks + 1) + blocks}.{place}.conv"
        yield f"up_blocks.{level}.upsamplers.0.conv", upsampler, {}


def _vae_rows(preset: VaePreset) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    levels, blocks = len(preset.channel_mult), preset.num_res_blocks
    yield "quant_conv", "quant_conv", {}
    yield "post_quant_conv", "post_quant_conv", {}
    for half in ("encoder", "decoder"):
        yield f"{half}.conv_in", f"{half}.conv_in", {}
        yield f"{half}.conv_norm_out", f"{half}.norm_out", {}
        yield f"{half}.conv_out", f"{half}.conv_out", {}
        yield f"{half}.mid_block.resnets.0", f"{half}.mid.block_1", _VAE_RESNET
        yield f"{half}.mid_block.attentions.0", f"{half}.mid.attn_1", _VAE_ATTENTION
        yield f"{half}.mid_block.resnets.1", f"{half}.mid.block_2", _VAE_RESNET
    for level in range(levels):
        down, up = f"encoder.down_blocks.{level}", f"decoder.up_blocks.{level}"
        official_down = f"encoder.down.{level}"
        # LDM numbers the decoder's levels by resolution, diffusers in the order of execution.
        official_up = f"decoder.up.{levels - 1 - level}"
        yield f"{down}.downsamplers.0.conv", f"{official_down}.downsample.conv", {}
        yield f"{up}.upsamplers.0.conv", f"{official_up}.upsample.conv", {}
        for block in range(blocks):
            yield f"{down}.resnets.{block}", f"{official_down}.block.{block}", _VAE_RESNET
        for block in range(blocks + 1):
            yield f"{up}.resnets.{block}", f"{official_up}.block.{block}", _VAE_RESNET
