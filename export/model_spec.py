"""Converts a preset, and the numbers of a model that belong to no stage, to the types of the runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from odise_trt.bundle.manifest import ModelSpec
from odise_trt.errors import ExportError
from odise_trt.vocabulary import Vocabulary
from reference.on_demand import each
from reference.preset import Preset

from .parity import CHECK_WEIGHTS

if TYPE_CHECKING:
    from reference.model import ODISE


def model_spec(preset: Preset) -> ModelSpec:
    """Return the part of `preset` that the runtime needs besides the engines."""
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
        object_mask_threshold=preset.object_mask_threshold,
        overlap_threshold=preset.overlap_threshold,
        topk_per_image=preset.topk_per_image,
    )


def constants(model: ODISE) -> dict[str, np.ndarray]:
    """Return `logit_scale` () and `clip_logit_scale` (), and `null_embed` (1, D) of label models, in float32.

    Raises:
        ExportError: one of them is not finite.
    """
    with torch.inference_mode():
        values = {
            "logit_scale": model.mask_head.predictor.post_mask_embed.scale(),
            "clip_logit_scale": model.clip.scale(),
        }
        if model.preset.kind == "label":
            values["null_embed"] = model.category_head.null().reshape(1, -1)
    for name, value in values.items():
        if not torch.isfinite(value).all():
            raise ExportError(f"the reference's {name} is not finite", CHECK_WEIGHTS)
    return {name: value.float().numpy() for name, value in values.items()}


def require_finite(model: ODISE) -> None:
    """Raise ExportError unless every number of a model is finite.

    The parity checks do not use every number: no example may have a certain word, and a scale may be clamped.

    Raises:
        ExportError: a constant or a tensor holds NaN or infinity.
    """
    constants(model)
    for name, value in each(model):
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ExportError(f"the reference's {name} is not finite", CHECK_WEIGHTS)


def check_constants(path: Path, model: ODISE) -> None:
    """Compare written constants with the reference.

    Raises:
        ExportError: one is missing, unknown, or has another value.
    """
    expected = constants(model)
    with np.load(path, allow_pickle=False) as written:
        same = set(written.files) == set(expected) and all(
            np.array_equal(written[name], value) for name, value in expected.items()
        )
    if not same:
        raise ExportError(f"{path.name} is not what was written into it", "is the disk damaged?")
