"""Small landscapes with their panoptic truth, drawn from a seed: as many as one likes, and free to ship.

A scene has sky and ground, mountains, water, a road, and things on and above them, in perspective, in front
of each other, in changing light. `python -m reference.scenes --seed 7 --output scene.png` writes one.
"""

from .dataset import FIRST_HELD_OUT, write_dataset
from .scene import SCENE_VOCABULARY, Scene, SceneSegment, make_scene

__all__ = ["FIRST_HELD_OUT", "SCENE_VOCABULARY", "Scene", "SceneSegment", "make_scene", "write_dataset"]
