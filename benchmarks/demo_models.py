"""The two demo models: the shipped ones, or those of the user's own training run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reference.checkpoint import WeightsDescription
    from reference.model import ODISE

#: Supervision -> preset.
MODELS = {"labels": "demo", "captions": "demo-caption"}


def load_demo(preset: str, weights: str) -> tuple[ODISE, WeightsDescription]:
    """Load a demo model, and describe the source of its weights.

    Args:
        preset: "demo" or "demo-caption".
        weights: "demo", or a folder written by `odise-trt train-demo`.
    """
    from reference.checkpoint import describe_weights, load_weights

    if weights == "demo":
        return load_weights(preset, "demo"), describe_weights(preset, "demo")
    label, caption = (str(Path(weights) / f"{name}.safetensors") for name in ("demo", "demo-caption"))
    if preset == "demo":
        return load_weights(preset, label), describe_weights(preset, label)
    return load_weights(preset, caption, frozen=label), describe_weights(preset, caption)
