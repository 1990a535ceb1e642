"""Batches without end, each a function of the seed, the step and the files alone.

Image n of a run and its augmentation follow from (seed, n), so a run is taken up at any step without
replaying what came before, and any number of processes sees the same images in a step.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader, Sampler

from odise_trt.errors import reason
from reference.datasets.example import Dataset
from reference.errors import LoaderError, TrainingError
from reference.losses.batch import Batch
from reference.training.config import TrainConfig
from reference.training.reading import Part, Parts, Samples, Skipped, readable

_LESS = "give fewer --workers, or --workers 0"


def batches(
    dataset: Dataset,
    config: TrainConfig,
    *,
    captions: bool,
    start: int,
    rank: int = 0,
    world: int = 1,
    skipped: Callable[[Skipped], object] = lambda _: None,
) -> Iterator[Batch]:
    """The batches of one process, `config.accumulate` per step.

    Args:
        dataset: examples whose categories are those that are trained.
        captions: also give a caption and its words, one per image and drawn anew each time.
        start: the steps that are done.
        rank, world: which of how many processes.
        skipped: called for every picture that is left out.

    Raises:
        TrainingError: there are no images, or a step does not divide into equal parts; while iterating, the
            processes that read were lost.
        ImageError, DatasetError: while iterating, an image cannot be read.
    """
    loader = DataLoader(
        Parts(Samples(dataset, config, captions)),
        batch_sampler=_Numbers(config, part_size(config, world), start, rank),
        num_workers=config.workers,
        collate_fn=_as_it_is,
        # Forking a process that has used torch's threads can hang its children.
        multiprocessing_context="spawn" if config.workers else None,
        worker_init_fn=_apart,
    )
    return _opened(_started(loader), skipped)


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


def check_truth(dataset: Dataset, *, captions: bool, skip_bad_images: bool = False) -> None:
    """Whether a data set has what a model learns from, as its first image shows.

    Raises:
        TrainingError: it has not.
        ImageError, DatasetError: that image cannot be read.
    """
    example = dataset[readable(dataset, skip_bad_images)]
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


def _started(loader: DataLoader[Any]) -> Iterator[Part]:
    try:
        with _quiet_children():
            return iter(loader)
    except OSError as error:
        raise LoaderError(
            f"the processes that read images cannot be started: {reason(error)}", _LESS
        ) from error


def _opened(parts: Iterator[Part], skipped: Callable[[Skipped], object]) -> Iterator[Batch]:
    while True:
        try:
            part = next(parts)
        except StopIteration:
            return
        except RuntimeError as error:  # of PyTorch, when one of the processes is gone
            raise LoaderError(f"a process that reads images was lost: {_cause(parts)}", _LESS) from error
        for one in part.skipped:
            skipped(one)
        yield part.opened()


def _cause(parts: Iterator[Part]) -> str:
    codes = {worker.exitcode for worker in getattr(parts, "_workers", ())}
    if -signal.SIGBUS in codes:
        return "shared memory (/dev/shm) ran out"
    if -signal.SIGKILL in codes:
        return "it was killed, most often because memory ran out"
    return "memory or shared memory (/dev/shm) ran out, or it was ended from outside"


@contextmanager
def _quiet_children() -> Iterator[None]:
    """Processes that start here never hear of Ctrl-C, and the end of one interrupts nothing.

    PyTorch would raise an error wherever the trainer is when a child dies, in the middle of an update too.
    Asking for the next batch tells it as well.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGCHLD)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _apart(_: int) -> None:
    """Leave the trainer's process group.

    Signals are sent to whole groups. The trainer finishes its step then, and needs its images for that; it
    ends its workers itself, and without it they end on their own.
    """
    os.setpgid(0, 0)


def _as_it_is(part: Any) -> Any:
    return part
