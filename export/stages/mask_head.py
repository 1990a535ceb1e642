"""Stage `mask_head`: class-agnostic masks and their embeddings for the whole image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor as Array
from torch.nn import functional as F

from odise_trt.pipeline import Step
from odise_trt.stage_spec import COMPUTE, StageSpec, Tensor
from reference.preset import Preset

from .axes import image_axes, image_profiles
from .examples import fields
from .features import STRIDES
from .wrapper import StageWrapper

if TYPE_CHECKING:
    from reference.model import ODISE


class MaskHead(StageWrapper):
    """Mask2Former's pixel decoder and masked-attention decoder with ODISE's mask pooling.

    Shapes:
        s2 .. s5     (1, Cp, H/4, W/4) .. (1, Cp, H/32, W/32)
        pred_masks   (1, Q, H/4, W/4)  logits, float32
        mask_embed   (1, Q, D)         float32
        pred_logits  (1, Q, 2)         object or nothing, float32; caption models only
    """

    # Every layer thresholds its masks into attention masks and pooling masks.
    scenes = 3
    # In bf16 its embeddings are 0.15 from the reference, and its masks decide where the next layer attends.
    bf16 = False
    # It has a hundredth of the model's work, and its masks decide where the next layer attends.
    float32 = ("mask_head.predictor",)
    islands = (
        "normalisation statistics",
        "softmax",
        "sampling locations",
        "the mask decoder with mask logits, pooling sums and final logits",
    )

    def __init__(self, model: ODISE) -> None:
        super().__init__(model)
        self.mask_head = model.mask_head

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """See `StageWrapper.declare`."""
        head, finest = preset.head, min(STRIDES.values())
        outputs = [
            Tensor(
                "pred_masks",
                "float32",
                (1, head.num_queries, f"height/{finest}", f"width/{finest}"),
            ),
            Tensor("mask_embed", "float32", (1, head.num_queries, head.mask_dim)),
        ]
        if preset.kind == "caption":
            outputs.append(Tensor("pred_logits", "float32", (1, head.num_queries, 2)))
        return StageSpec(
            name="mask_head",
            inputs=tuple(
                Tensor(name, COMPUTE, (1, head.projection_dim, f"height/{stride}", f"width/{stride}"))
                for name, stride in STRIDES.items()
            ),
            outputs=tuple(outputs),
            axes=image_axes(preset),
            profiles=image_profiles(preset),
        )

    @classmethod
    def step(cls, preset: Preset) -> Step:
        """See `StageWrapper.step`."""
        return Step("mask_head", {name: f"stitch.{name}" for name in STRIDES})

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Array, ...]:
        """One random scene at four strides, non-negative as sums of ReLU outputs are."""
        channels = model.preset.head.projection_dim
        finest = min(STRIDES.values())
        scene = fields(1, channels, sizes["height"] // finest, sizes["width"] // finest, generator)
        pooled = (F.avg_pool2d(scene, stride // finest) for stride in STRIDES.values())
        return tuple(torch.relu(level / level.std()) for level in pooled)

    def turned(self, rounding: float, *inputs: Array) -> tuple[tuple[Array, ...], ...]:
        """See `StageWrapper.turned`: every mask logit is raised, and lowered."""
        decoder = self.mask_head.predictor
        original, spread = decoder.mask_logits, self(*inputs)[0].square().mean().sqrt()
        results = []
        for shift in (rounding * spread, -rounding * spread):

            def shifted(query: Array, features: Array, shift: Array = shift) -> Array:
                return original(query, features) + shift

            decoder.mask_logits = shifted  # type: ignore[method-assign]
            try:
                results.append(self(*inputs))
            finally:
                del decoder.mask_logits
        return tuple(results)

    def forward(self, s2: Array, s3: Array, s4: Array, s5: Array) -> tuple[Array, ...]:
        """See the class."""
        output = self.mask_head(s2, s3, s4, s5)
        logits = () if output.pred_logits is None else (output.pred_logits,)
        return (output.pred_masks, output.mask_embed, *logits)
