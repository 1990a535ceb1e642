"""Batches without end, each a function of the seed and the step alone.

Image n of a run and its augmentation follow from (seed, n), so a run is taken up at any step without
replaying what came before, and any number of processes sees the same images in a step.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from reference.datasets.sample import Dataset
from reference.losses.targets import Batch, Target
from reference.training.augmentation import Jitter, training_sample
from reference.training.config import TrainConfig
from reference.training.errors import TrainingError


class Samples(TorchDataset[tuple[Tensor, Target]]):
    """Training image n of a run, for any n."""

    def __init__(self, dataset: Dataset, config: TrainConfig, captions: bool) -> None:
        self._dataset, self._config, self._captions = dataset, config, captions
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __getitem__(self, number: int) -> tuple[Tensor, Target]:
        """The image, uint8 (3, S, S), and its truth."""
        example = self._dataset[self.index(number)]
        random = np.random.default_rng([self._config.seed, 1, number])
        jitter = Jitter.draw(random, self._config.scales)
        words: tuple[str, ...] = ()
        caption = ""
        if self._captions and example.captions:
            from reference.datasets.nouns import caption_words

            caption = example.captions[random.integers(len(example.captions))]
            words = caption_words(caption)
        return training_sample(example, jitter, self._config.image_size, words, caption)

    def index(self, number: int) -> int:
        """Which image of the data set that is: every epoch has all of them in an order of its own."""
        epoch, place = divmod(number, len(self._dataset))
        if epoch != self._epoch:
            order = np.random.default_rng([self._config.seed, 0, epoch]).permutation(len(self._dataset))
            self._epoch, self._order = epoch, order
        return int(self._order[place])


def batches(
    dataset: Dataset, config: TrainConfig, *, captions: bool, start: int, rank: int = 0, world: int = 1
) -> Iterator[Batch]:
    """The batches of one process, `config.accumulate` per step.

    Args:
        dataset: examples whose categories are those that are trained.
        captions: also give a caption and its words, one per image and drawn anew each time.
        start: the steps that are done.
        rank, world: which of how many processes.

    Raises:
        TrainingError: there are no images, or a step does not divide into equal parts.
    """
    loader = DataLoader(
        Samples(dataset, config, captions),
        batch_sampler=_Numbers(config, part_size(config, world), start, rank),
        num_workers=config.workers,
        collate_fn=_collate,
        # Forking a process that has used torch's threads can hang its children.
        multiprocessing_context="spawn" if config.workers else None,
        worker_init_fn=_apart,
    )
    return iter(loader)


def part_size(config: TrainConfig, world: int) -> int:
    """Images a process has in memory at a time.

    Raises:
        TrainingError: a step does not divide into equal parts.
    """
    size, rest = divmod(config.batch, world * config.accumulate)
    if rest or not size:
        raise TrainingError(
            f"a batch of {config.batch} does not divide among {world} processes in {config.accumulate} parts",
            "give --batch as a multiple of both",
        )
    return size


def check_truth(dataset: Dataset, *, captions: bool) -> None:
    """Whether a data set has what a model learns from, as its first image shows.

    Raises:
        TrainingError: it has not.
    """
    if len(dataset) == 0:
        raise TrainingError(f"{dataset.name} has no images", "check it: python -m reference.datasets verify")
    example = dataset[0]
    if example.panoptic is None and example.instances is None and example.semantic is None:
        raise TrainingError(
            f"{dataset.name} has no segments", "use a data set that has them: docs/datasets.md"
        )
    if captions and not example.captions:
        raise TrainingError(
            f"{dataset.name} has no captions",
            "use coco-captions, or train a label model (--preset odise-label) that is told none",
        )


class _Numbers(Sampler[list[int]]):
    """The numbers of the images of each batch of one process."""

    def __init__(self, config: TrainConfig, size: int, start: int, rank: int) -> None:
        self._config, self._size, self._start, self._rank = config, size, start, rank

    def __iter__(self) -> Iterator[list[int]]:
        parts = self._config.accumulate
        for step in range(self._start, self._config.steps):
            for part in range(self._rank * parts, (self._rank + 1) * parts):
                first = step * self._config.batch + part * self._size
                yield list(range(first, first + self._size))


def _apart(_: int) -> None:
    """Leave the trainer's process group.

    Ctrl-C and `torchrun` signal whole groups. The trainer finishes its step then, and needs its images for
    that; it ends its workers itself, and without it they end on their own.
    """
    os.setpgid(0, 0)


def _collate(samples: list[tuple[Tensor, Target]]) -> Batch:
    images, targets = zip(*samples, strict=True)
    return Batch(torch.stack(images), targets)
