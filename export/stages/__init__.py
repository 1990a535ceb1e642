"""The stages of the model, in the order they run, and stages that are built on request only.

A new stage needs one file and one line here, see docs/adding-a-stage.md.
"""

from __future__ import annotations

from importlib import import_module

from odise_trt.pipeline import Step
from reference.preset import Preset

from .wrapper import StageWrapper

#: Name of a stage -> class of the stage. The module with the class has the name of the stage.
_CLASSES = {
    "cut": "Cut",
    "captioner": "Captioner",
    "features": "Features",
    "stitch": "Stitch",
    "mask_head": "MaskHead",
    "clip_pool": "ClipPool",
    "classify": "Classify",
    "panoptic": "Panoptic",
    "assign": "Assign",
    "paint": "Paint",
    "semantic": "Semantic",
    "top_instances": "TopInstances",
    "instances": "Instances",
    "text_encoder": "TextEncoder",
}

#: Stages that no segmentation needs. A build makes them only if they are named.
_OPTIONAL_CLASSES = {
    "raw_features": "RawFeatures",
}


def _load(classes: dict[str, str]) -> dict[str, type[StageWrapper]]:
    return {
        name: getattr(import_module(f".{name}", __package__), of_class) for name, of_class in classes.items()
    }


STAGES = _load(_CLASSES)
OPTIONAL_STAGES = _load(_OPTIONAL_CLASSES)


def all_stages() -> dict[str, type[StageWrapper]]:
    """Return every stage by name, the optional ones last."""
    return STAGES | OPTIONAL_STAGES


def steps(preset: Preset) -> tuple[Step, ...]:
    """Return the pipeline: the steps of all stages that have one, in the order they run."""
    return tuple(step for stage in STAGES.values() if (step := stage.step(preset)) is not None)


__all__ = ["OPTIONAL_STAGES", "STAGES", "StageWrapper", "all_stages", "steps"]
