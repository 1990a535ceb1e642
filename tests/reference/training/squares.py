"""Data of coloured squares, whole and faulty, and how a model is trained on it.

Importing this imports no model: the processes that read images for a training import it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from odise_trt.errors import ImageError
from odise_trt.vocabulary import Vocabulary
from reference.datasets.example import Example, PanopticSegment
from reference.losses import LossConfig
from reference.training.config import TrainConfig

CONFIG = TrainConfig(
    steps=6,
    batch=2,
    milestones=(4,),
    warmup_steps=2,
    image_size=64,
    scales=(0.5, 1.5),
    losses=LossConfig(num_points=64, checkpointing=False),
    workers=0,
    log_steps=1,
    checkpoint_steps=0,
)


class Squares:
    """Coloured squares on a ground, each with a caption; three segments in every image."""

    name = "squares"
    vocabulary = Vocabulary.parse("square, box; disc; ground")

    def __init__(self, bad: int | None = None) -> None:
        self._bad = bad

    def __len__(self) -> int:
        return 5

    def image_id(self, index: int) -> int:
        return index

    def __getitem__(self, index: int) -> Example:
        if index == self._bad:
            raise ImageError(f"{index}.png is damaged", "a truncated download?")
        random = np.random.default_rng(index)
        image = np.full((64, 64, 3), 90, np.uint8)
        panoptic = np.full((64, 64), 3, np.int32)
        for number, colour in ((1, (250, 30, 30)), (2, (20, 60, 250))):
            top, left = random.integers(2, 24), random.integers(2, 8) + 30 * (number - 1)
            image[top : top + 22, left : left + 22] = colour
            panoptic[top : top + 22, left : left + 22] = number
        segments = tuple(PanopticSegment(number, number - 1) for number in (1, 2, 3))
        return Example(index, image, panoptic, segments, captions=("a red square and a blue disc",))


class Damaged(Squares):
    """Squares of which some pictures cannot be read."""

    def __init__(self, bad: Iterable[int], error: Exception) -> None:
        self._bad, self._error = frozenset(bad), error

    def files(self, index: int) -> tuple[Path, ...]:
        return (Path(f"images/{index}.png"),)

    def __getitem__(self, index: int):
        if index in self._bad:
            raise self._error
        return super().__getitem__(index)


class Deadly(Squares):
    """Squares whose fourth picture kills the process that reads it, as too little memory does."""

    def __getitem__(self, index: int):
        if index == 3 and torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


class Cramped(Squares):
    """Squares where shared memory is full, as in a container with its 64 MB."""

    def __getitem__(self, index):
        def full(tensor):
            raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

        if torch.utils.data.get_worker_info() is not None:
            torch.Tensor.share_memory_ = full
        return super().__getitem__(index)
