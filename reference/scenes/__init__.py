"""Small landscapes with their panoptic truth, drawn from a seed: as many as one likes, and free to ship.

A scene has sky and ground, mountains, water, a road, and things on and above them, in perspective, in front
of each other, in changing light. `odise-trt scenes --seed 7 --output scene.png` writes one.

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
