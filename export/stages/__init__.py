"""The stages of the model, in the order they run, and stages that are built on request only.

A new stage needs one file and one line here, see docs/adding-a-stage.md. The stages import torch, which takes
seconds, so `STAGES` and `OPTIONAL_STAGES` are made when they are first used. `stage_names` needs neither.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from odise_trt.pipeline import Step
    from reference.preset import Preset

    from .wrapper import StageWrapper

    #: Name of a stage -> the stage.
    STAGES: dict[str, type[StageWrapper]]
    OPTIONAL_STAGES: dict[str, type[StageWrapper]]

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
    "resize": "Resize",
}


def stage_names() -> tuple[str, ...]:
    """Return the names of all stages, the optional ones last."""
    return (*_CLASSES, *_OPTIONAL_CLASSES)


def all_stages() -> dict[str, type[StageWrapper]]:
    """Return every stage by name, the optional ones last."""
    return _loaded("STAGES") | _loaded("OPTIONAL_STAGES")


def steps(preset: Preset) -> tuple[Step, ...]:
    """Return the pipeline: the steps of all stages that have one, in the order they run."""
    return tuple(step for stage in _loaded("STAGES").values() if (step := stage.step(preset)) is not None)


@cache
def _loaded(table: str) -> dict[str, type[StageWrapper]]:
    classes = _OPTIONAL_CLASSES if table == "OPTIONAL_STAGES" else _CLASSES
    return {
        name: getattr(import_module(f".{name}", __package__), of_class) for name, of_class in classes.items()
    }


def __getattr__(name: str) -> Any:
    if name in ("STAGES", "OPTIONAL_STAGES"):
        return _loaded(name)
    if name == "StageWrapper":
        return import_module(".wrapper", __package__).StageWrapper
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["OPTIONAL_STAGES", "STAGES", "StageWrapper", "all_stages", "stage_names", "steps"]
