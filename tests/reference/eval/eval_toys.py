"""A dataset in memory, and predictors that know its truth, more or less."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from odise_trt.task import Task
from odise_trt.vocabulary import Category, Vocabulary
from reference.datasets.example import IGNORED, Example, Instance, PanopticSegment
from reference.eval.prediction import Detection, Prediction, Region
from reference.eval.rle import encode_mask

HEIGHT, WIDTH = 40, 60
VOCABULARY = Vocabulary((Category(("ball",)), Category(("house", "hut")), Category(("sky",), isthing=False)))


class ToyDataset:
    """Boxes before a sky; the first pixel of an image is its index. One image has no things, one a crowd."""

    name = "toys"
    vocabulary = VOCABULARY
    category_ids = (3, 7, 12)

    def __init__(self, count: int = 6) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def image_id(self, index: int) -> int | str:
        return index + 100 if index % 2 else f"city/{index}"

    def __getitem__(self, index: int) -> Example:
        image = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
        image[0, 0] = index
        panoptic = np.full((HEIGHT, WIDTH), 1, dtype=np.int32)
        panoptic[:2] = 0
        segments = [PanopticSegment(1, 2)]
        for box in range(0 if index == 3 else 2):
            panoptic[5 + index : 25, 5 + 25 * box : 22 + 25 * box] = 300 + box
            segments.append(PanopticSegment(300 + box, box, iscrowd=index == 4 and box == 1))
        semantic = np.full((HEIGHT, WIDTH), IGNORED, dtype=np.int32)
        for one in segments:
            semantic[panoptic == one.id] = one.category
        things = [one for one in segments if VOCABULARY.isthing[one.category]]
        return Example(
            self.image_id(index),
            image,
            panoptic,
            tuple(segments),
            semantic,
            tuple(Instance(one.category, panoptic == one.id, one.iscrowd) for one in things),
        )


class Foggy(ToyDataset):
    """The same ids and the same truth of objects; one image has other pixels, or its pixels in another order
    of rows and columns."""

    def __init__(self, index: int, changed: str) -> None:
        super().__init__()
        self._index, self._changed = index, changed

    def __getitem__(self, index: int) -> Example:
        example = super().__getitem__(index)
        if index != self._index:
            return example
        fog = example.image + 1 if self._changed == "pixels" else example.image.reshape(WIDTH, HEIGHT, 3)
        return replace(example, image=fog)


class Knowing:
    """Predicts the truth of a `ToyDataset`.

    Attributes:
        asked: indices of the images it was asked about.
    """

    name = "knowing"

    def __init__(self, dataset: ToyDataset | None = None) -> None:
        self.identity: Mapping[str, Any] = {"kind": self.name, "runs_on": {"backend": "none"}}
        self.dataset = dataset or ToyDataset()
        self.asked: list[int] = []
        self.vocabulary: Vocabulary | None = None

    def look_for(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def predict(self, image: np.ndarray, tasks: Sequence[Task]) -> Prediction:
        assert self.vocabulary == VOCABULARY
        self.asked.append(int(image[0, 0, 0]))
        return self.prediction(self.dataset[self.asked[-1]])

    def prediction(self, truth: Example) -> Prediction:
        assert truth.instances is not None
        return Prediction(
            truth.panoptic,
            tuple(Region(one.id, one.category) for one in truth.segments),
            truth.semantic,
            tuple(Detection(one.category, 0.9, encode_mask(one.mask)) for one in truth.instances),
        )


class Shaky(Knowing):
    """Is off by a few pixels and unsure, the more the higher the index; the same whenever it is asked."""

    name = "shaky"

    def prediction(self, truth: Example) -> Prediction:
        index = self.asked[-1]
        shifted = super().prediction(truth)
        assert shifted.panoptic is not None
        assert shifted.semantic is not None
        assert truth.instances is not None
        panoptic, semantic = (np.roll(one, index, axis=1) for one in (shifted.panoptic, shifted.semantic))
        return Prediction(
            panoptic,
            tuple(one for one in shifted.regions if (panoptic == one.id).any()),
            semantic,
            tuple(
                Detection(one.category, 1 / (3 + index), encode_mask(np.roll(one.mask, index, axis=0)))
                for one in truth.instances
            ),
        )


class Blank:
    """Predicts nothing, of any dataset.

    Attributes:
        asked: how many images it was asked about.
    """

    name = "blank"
    identity: Mapping[str, Any] = {"kind": name}

    def __init__(self) -> None:
        self.asked = 0

    def look_for(self, vocabulary: Vocabulary) -> None:
        """It looks for nothing."""

    def predict(self, image: np.ndarray, tasks: Sequence[Task]) -> Prediction:
        self.asked += 1
        nothing = np.zeros(image.shape[:2], dtype=np.int32)
        return Prediction(nothing, (), nothing - 1, ())


class Killed(Shaky):
    """Its process ends without a word when it is asked about image 3."""

    def predict(self, image: np.ndarray, tasks: Sequence[Task]) -> Prediction:
        if image[0, 0, 0] == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(image, tasks)
