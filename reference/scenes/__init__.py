"""Draw small landscapes with their panoptic truth, each from a seed. They are free of other people's rights.

A scene has sky, ground, mountains, water and a road. Things stand on the ground in perspective, cover each
other, or fly; the light changes from scene to scene. To write one:
`python -m reference.scenes --seed 7 --output scene.png`.
"""

from .dataset import FIRST_HELD_OUT, write_dataset
from .scene import SCENE_VOCABULARY, Scene, SceneSegment, make_scene

__all__ = ["FIRST_HELD_OUT", "SCENE_VOCABULARY", "Scene", "SceneSegment", "make_scene", "write_dataset"]
