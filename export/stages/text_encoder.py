"""Stage `text_encoder`: embeddings of category names. It runs once per vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor as Array

from odise_trt.stage_spec import StageSpec, Tensor
from reference.preset import Preset

from .axes import text_axes, text_profiles
from .examples import tokens
from .wrapper import StageWrapper

if TYPE_CHECKING:
    from reference.model import ODISE


class TextEncoder(StageWrapper):
    """CLIP's text encoder and the head's projection of its result.

    Shapes:
        tokens           (K', 77)  int64
        clip_text_embed  (K', E)   not normalised, compared with `clip_mask_embed`
        text_embed       (K', D)   compared with `mask_embed`
    """

    islands = ("normalisation statistics", "softmax", "text_embed projection")
    float32 = ("text_proj",)

    # It runs once per vocabulary, and its rounding would stay in the cached table.
    bf16 = False

    def __init__(self, model: ODISE) -> None:
        super().__init__(model)
        self.clip = model.clip
        self.text_proj = model.text_head.text_proj

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """See `StageWrapper.declare`."""
        return StageSpec(
            name="text_encoder",
            inputs=(Tensor("tokens", "int64", ("texts", preset.clip.context_length)),),
            outputs=(
                Tensor("clip_text_embed", "float32", ("texts", preset.clip.embed_dim)),
                Tensor("text_embed", "float32", ("texts", preset.head.mask_dim)),
            ),
            axes=text_axes(),
            profiles=text_profiles(),
        )

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Array, ...]:
        """Random words of all lengths."""
        clip = model.preset.clip
        return (tokens(sizes["texts"], clip.context_length, clip.vocab_size, generator),)

    def forward(self, tokens: Array) -> tuple[Array, Array]:
        """See the class."""
        clip_text_embed = self.clip.embed_text(tokens)
        return clip_text_embed, self.text_proj(clip_text_embed.to(self.text_proj.weight.dtype))
