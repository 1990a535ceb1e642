"""A preset, and the numbers of a model that belong to no stage, in the runtime's terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from odise_trt.manifest import ModelSpec
from odise_trt.vocabulary import Vocabulary
from reference.preset import Preset

if TYPE_CHECKING:
    from reference.model import ODISE


def model_spec(preset: Preset) -> ModelSpec:
    """What the runtime has to know of `preset` around the engines."""
    labels = preset.train_labels
    return ModelSpec(
        kind=preset.kind,
        short_side=preset.short_side,
        max_side=preset.max_side,
        divisor=preset.divisor,
        window=preset.window,
        num_queries=preset.head.num_queries,
        mask_embed_dim=preset.head.mask_dim,
        clip_dim=preset.clip.embed_dim,
        clip_image_size=preset.clip.image_size,
        context_length=preset.clip.context_length,
        category_prompt=preset.category_prompt,
        clip_prompt=preset.clip_prompt,
        train_labels=Vocabulary.preset(labels).synonyms if isinstance(labels, str) else labels,
        alpha=preset.alpha,
        beta=preset.beta,
        topk_per_image=preset.topk_per_image,
    )


def constants(model: ODISE) -> dict[str, np.ndarray]:
    """`logit_scale` () and `clip_logit_scale` (), and `null_embed` (1, D) of label models; float32."""
    with torch.inference_mode():
        values = {
            "logit_scale": model.mask_head.predictor.post_mask_embed.scale(),
            "clip_logit_scale": model.clip.scale(),
        }
        if model.preset.kind == "label":
            values["null_embed"] = model.category_head.null().reshape(1, -1)
    return {name: value.float().numpy() for name, value in values.items()}
