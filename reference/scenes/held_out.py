"""The held-out scenes as a dataset: no training has seen them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from odise_trt.vocabulary import Vocabulary
from reference.datasets.example import IGNORED, Example, Instance, PanopticSegment
from reference.scenes import FIRST_HELD_OUT, SCENE_VOCABULARY, make_scene
from reference.scenes.words import only_synonyms, training_names

#: Names of the dataset, with the words of its categories: all words; only the one word that mask training
#: used; only words that it did not use, where a category has such.
WORDS: Mapping[str, Callable[[], Vocabulary]] = {
    "scenes": lambda: SCENE_VOCABULARY,
    "scenes-names": training_names,
    "scenes-synonyms": only_synonyms,
}
#: Height and width of a scene in pixels: the demo preset does not resize this size.
SIDE = 256


@dataclass(frozen=True)
class HeldOut:
    """The first held-out scenes; a `reference.datasets.example.Dataset`.

    Attributes:
        count: number of scenes.
        vocabulary: the categories.
        name: a key of `WORDS`.
    """

    count: int
    vocabulary: Vocabulary
    name: str

    def __len__(self) -> int:
        return self.count

    def image_id(self, index: int) -> int:
        """Return the seed of a scene, which is its id."""
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
    """Return the first `count` held-out scenes.

    Args:
        count: number of scenes.
        name: decides the words of the categories, see `WORDS`.
    """
    return HeldOut(count, WORDS[name](), name)
