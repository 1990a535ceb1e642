"""The stages of the model, in the order they run.

A new stage is one file and one line here: docs/adding-a-stage.md.
"""

from __future__ import annotations

from importlib import import_module

from .wrapper import StageWrapper

#: Name of a stage, which is also the name of its module here, and the class in it.
_CLASSES = {
    "captioner": "Captioner",
    "features": "Features",
    "mask_head": "MaskHead",
    "clip_pool": "ClipPool",
    "text_encoder": "TextEncoder",
}

STAGES: dict[str, type[StageWrapper]] = {
    name: getattr(import_module(f".{name}", __package__), of_class) for name, of_class in _CLASSES.items()
}

__all__ = ["STAGES", "StageWrapper"]
