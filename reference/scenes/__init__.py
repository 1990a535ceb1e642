"""Draw small landscapes with their panoptic truth, each from a seed. They are free of other people's rights.

A scene has sky, ground, mountains, water and a road. Things stand on the ground in perspective, cover each
other, or fly; the light changes from scene to scene. To write one:
`odise-trt scenes --seed 7 --output scene.png`.

Importing this package imports nothing heavy: names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dataset import FIRST_HELD_OUT, write_dataset
    from .scene import SCENE_VOCABULARY, Scene, SceneSegment, make_scene

__all__ = ["FIRST_HELD_OUT", "SCENE_VOCABULARY", "Scene", "SceneSegment", "make_scene", "write_dataset"]

_HOMES = {
    "FIRST_HELD_OUT": "dataset",
    "SCENE_VOCABULARY": "scene",
    "Scene": "scene",
    "SceneSegment": "scene",
    "make_scene": "scene",
    "write_dataset": "dataset",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
