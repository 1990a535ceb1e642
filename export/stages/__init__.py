"""The stages of the model, in the order they run.

A new stage needs one file and one line here, see docs/adding-a-stage.md.
"""

from __future__ import annotations

from importlib import import_module

from .wrapper import StageWrapper

#: Name of a stage -> class of the stage. The module with the class has the name of the stage.
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
