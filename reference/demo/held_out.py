"""Scenes that no training has seen, as a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from odise_trt.vocabulary import Vocabulary
from reference.datasets.example import IGNORED, Example, Instance, PanopticSegment
from reference.demo.words import only_synonyms, training_names
from reference.scenes import FIRST_HELD_OUT, SCENE_VOCABULARY, make_scene

#: Names of the dataset, and what its categories are called: all their words, the one word of each that
#: mask training used, or none of those where there are others.
WORDS: Mapping[str, Callable[[], Vocabulary]] = {
    "scenes": lambda: SCENE_VOCABULARY,
    "scenes-names": training_names,
    "scenes-synonyms": only_synonyms,
}
#: Height and width of a scene: what the demo preset sees without resizing.
SIDE = 256


@dataclass(frozen=True)
class HeldOut:
    """See `held_out`; a `reference.datasets.example.Dataset`."""

    count: int
    vocabulary: Vocabulary
    name: str

    def __len__(self) -> int:
        return self.count

    def image_id(self, index: int) -> int:
        """The seed of the scene."""
        return FIRST_HELD_OUT + index

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < self.count:
            raise IndexError(index)
        scene = make_scene(self.image_id(index), SIDE, SIDE)
        semantic = np.full(scene.panoptic.shape, IGNORED, np.int32)
        instances = []
        for segment in scene.segments:
            mask = scene.panoptic == segment.id
            semantic[mask] = segment.category_id
            if segment.isthing:
                instances.append(Instance(segment.category_id, mask))
        return Example(
            image_id=self.image_id(index),
            image=scene.image,
            panoptic=scene.panoptic,
            segments=tuple(PanopticSegment(s.id, s.category_id) for s in scene.segments),
            semantic=semantic,
            instances=tuple(instances),
        )


def held_out(count: int, name: str = "scenes") -> HeldOut:
    """The first `count` held-out scenes.

    Args:
        count: how many.
        name: what to call their categories, see `WORDS`.
    """
    return HeldOut(count, WORDS[name](), name)
