"""Stage `clip_pool`: CLIP's embedding of the image area under each mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor as Array

from odise_trt.pipeline import Step
from odise_trt.stage_spec import StageSpec, Tensor
from reference.preset import Preset

from .axes import image_axes, image_profiles
from .examples import images, mask_logits
from .wrapper import StageWrapper

if TYPE_CHECKING:
    from reference.model import ODISE


class ClipPool(StageWrapper):
    """MaskCLIP: one class token per mask that attends to the mask's patches only (arXiv 2208.08984).

    Shapes:
        clip_image       (1, 3, I, I)        RGB in [0, 1]
        pred_masks       (1, Q, H/4, W/4)    logits
        clip_mask_embed  (1, Q, E)
    """

    islands = ("normalisation statistics", "softmax", "mask pooling", "clip_mask_embed")
    quantized = True

    def __init__(self, model: ODISE) -> None:
        super().__init__(model)
        self.clip_pool = model.clip_pool

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """See `StageWrapper.declare`."""
        side, queries = preset.clip.image_size, preset.head.num_queries
        return StageSpec(
            name="clip_pool",
            inputs=(
                Tensor("clip_image", "float32", (1, 3, side, side)),
                Tensor("pred_masks", "float32", (1, queries, "height/4", "width/4")),
            ),
            outputs=(Tensor("clip_mask_embed", "float32", (1, queries, preset.clip.embed_dim)),),
            axes=image_axes(preset),
            profiles=image_profiles(preset),
        )

    @classmethod
    def step(cls, preset: Preset) -> Step:
        """See `StageWrapper.step`."""
        return Step("clip_pool", {"clip_image": "cut.clip_image", "pred_masks": "mask_head.pred_masks"})

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Array, ...]:
        """A random image and random masks, one empty and one full among them."""
        side, queries = model.preset.clip.image_size, model.preset.head.num_queries
        return (
            images(1, side, side, generator),
            mask_logits(queries, sizes["height"] // 4, sizes["width"] // 4, generator),
        )

    def forward(self, clip_image: Array, pred_masks: Array) -> Array:
        """See the class."""
        return self.clip_pool(clip_image, pred_masks)
