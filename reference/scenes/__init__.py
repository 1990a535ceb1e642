"""Draw small landscapes with their panoptic truth, each from a seed. They are free of other people's rights.

A scene has sky, ground, mountains, water and a road. Things stand on the ground in perspective, cover each
other, or fly; the light changes from scene to scene. To write one:
`odise-trt scenes --seed 7 --output scene.png`.

Importing this package imports nothing heavy: names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from odise_trt.lazy import lazy_names

if TYPE_CHECKING:
    from .dataset import FIRST_HELD_OUT, write_dataset
    from .scene import SCENE_VOCABULARY, Scene, SceneSegment, make_scene

__all__ = ["FIRST_HELD_OUT", "SCENE_VOCABULARY", "Scene", "SceneSegment", "make_scene", "write_dataset"]

_HOMES = {
    "FIRST_HELD_OUT": ".dataset",
    "SCENE_VOCABULARY": ".scene",
    "Scene": ".scene",
    "SceneSegment": ".scene",
    "make_scene": ".scene",
    "write_dataset": ".dataset",
}


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
