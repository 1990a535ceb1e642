"""Reading the images of a run, in the processes of the loader. Errors are returned as values.

If a worker raised an exception, PyTorch would raise it again with the traceback as its message. If shared
memory is too small (a container has 64 MB), PyTorch loses the batch, and the trainer would wait forever.
"""

from __future__ import annotations

import io
import pickle
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from odise_trt.errors import ImageError, OdiseError, hint_for, reason
from reference.datasets.example import Dataset
from reference.errors import TrainingError
from reference.losses.batch import Batch, Target
from reference.training.augmentation import Jitter, training_sample
from reference.training.config import TrainConfig

#: Images that are tried instead of an unreadable one. If all of them are unreadable, the disk is gone.
TRIES = 100


@dataclass(frozen=True)
class Skipped:
    """An image that was skipped.

    Attributes:
        image: its file.
        reason: why it cannot be read.
    """

    image: str
    reason: str


@dataclass(frozen=True)
class Part:
    """The result of one request to a worker: a batch, or an error.

    Attributes:
        batch: images with their truth; pickled if shared memory had no room.
        skipped: images that were skipped for this batch.
        error: the reason why there is no batch.
    """

    batch: Batch | bytes | None = None
    skipped: tuple[Skipped, ...] = ()
    error: OdiseError | None = None

    def opened(self) -> Batch:
        """Return the batch.

        Raises:
            OdiseError: the error of the worker.
        """
        if self.error is not None:
            raise self.error
        batch = pickle.loads(self.batch) if isinstance(self.batch, bytes) else self.batch
        assert batch is not None
        return batch


class Samples:
    """Training image n of a run, for any n."""

    def __init__(self, dataset: Dataset, config: TrainConfig, captions: bool) -> None:
        self._dataset, self._config, self._captions = dataset, config, captions
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def read(self, number: int) -> tuple[tuple[Tensor, Target], list[Skipped]]:
        """Return image `number`, uint8 (3, S, S), with its truth, and the images that were skipped for it.

        An unreadable image n is replaced by image n + batch of the run. So the images of a step still follow
        from the seed, the step and the files.

        Raises:
            OdiseError: the image is unreadable and must not be skipped, or too many in a row are unreadable.
        """
        skipped: list[Skipped] = []
        for attempt in range(TRIES if self._config.skip_bad_images else 1):
            index = self.index(number + attempt * self._config.batch)
            try:
                return self._sample(number, index), skipped
            except Exception as error:
                known = _typed(error, _file(self._dataset, index))
                if not self._config.skip_bad_images:
                    raise _with_ways(known, f"step {number // self._config.batch + 1} needs it") from error
                # An error of the program or of the machine is not a reason to skip the image.
                if isinstance(known, TrainingError):
                    raise known from error
                skipped.append(Skipped(_file(self._dataset, index), known.message))
        raise TrainingError(
            f"{TRIES} pictures in a row cannot be read, the last one: {skipped[-1].reason}",
            "check that the disk with the data is there",
        )

    def index(self, number: int) -> int:
        """Return the index in the data set of image `number` of the run. Every epoch has its own order."""
        epoch, place = divmod(number, len(self._dataset))
        if epoch != self._epoch:
            order = np.random.default_rng([self._config.seed, 0, epoch]).permutation(len(self._dataset))
            self._epoch, self._order = epoch, order
        return int(self._order[place])

    def _sample(self, number: int, index: int) -> tuple[Tensor, Target]:
        example = self._dataset[index]
        random = np.random.default_rng([self._config.seed, 1, number])
        jitter = Jitter.draw(random, self._config.scales)
        words: tuple[str, ...] = ()
        caption = ""
        if self._captions and example.captions:
            from reference.datasets.caption_words import caption_words

            caption = example.captions[random.integers(len(example.captions))]
            words = caption_words(caption)
        return training_sample(example, jitter, self._config.image_size, words, caption)


class Parts(TorchDataset[Part]):
    """The data set of a loader: parts of a run by the numbers of their images. Never raises an error."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __getitems__(self, numbers: Sequence[int]) -> Part:
        """Return the part with these images."""
        try:
            read = [self._samples.read(number) for number in numbers]
            images, targets = zip(*(sample for sample, _ in read), strict=True)
            batch = _in_shared_memory(Batch(torch.stack(images), targets))
            return Part(batch, tuple(one for _, skipped in read for one in skipped))
        except Exception as error:
            return Part(error=_sendable(_typed(error, "a batch")))


def readable(dataset: Dataset, skip: bool) -> int:
    """The first image that can be read; with `skip`, others are passed over.

    Raises:
        OdiseError: it cannot be read, or none of the first `TRIES`.
    """
    for index in range(len(dataset)):
        try:
            dataset[index]
        except Exception as error:
            known = _typed(error, _file(dataset, index))
            if not skip:
                raise _with_ways(known, "it is looked at before training") from error
            if isinstance(known, TrainingError) or index + 1 >= min(TRIES, len(dataset)):
                raise known from error
        else:
            return index
    raise TrainingError(f"{dataset.name} has no images", "check it: python -m reference.datasets verify")


def _typed(error: Exception, file: str) -> OdiseError:
    """An error of reading a file, as one of the product: no `TrainingError` if it is the file's."""
    if isinstance(error, OdiseError):
        return error
    if isinstance(error, MemoryError):
        return TrainingError(f"there is not enough memory to read {file}", "give fewer --workers")
    if isinstance(error, OSError):
        return ImageError(f"{file} cannot be read: {reason(error)}", hint_for(error))
    first = (str(error).strip().splitlines() or [""])[0]
    known = TrainingError(
        f"{file} cannot be read: {type(error).__name__}: {first}",
        "--debug shows where that arose; please report it, if the data set is in order",
    )
    # Shown with the traceback alone.
    known.add_note("".join(traceback.format_exception(error)))
    return known


def _with_ways(error: OdiseError, why: str) -> OdiseError:
    """The same error with the ways out, where it is one of a picture."""
    if not isinstance(error, TrainingError):
        way = "repair it, take it out of the data set, or skip such pictures with --skip-bad-images"
        error.hint = "\n  ".join([*([error.hint] if error.hint else []), f"{why}: {way}"])
    return error


def _sendable(error: OdiseError) -> OdiseError:
    """An error that another process can be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # a class that cannot be found by its name, say
        return TrainingError(f"{type(error).__name__}: {error.message}", error.hint)
    return error


def _in_shared_memory(batch: Batch) -> Batch | bytes:
    if torch.utils.data.get_worker_info() is None:
        return batch
    try:
        for tensor in (
            batch.images,
            *(t for target in batch.targets for t in (target.masks, target.classes)),
        ):
            tensor.share_memory_()
    except RuntimeError:
        file = io.BytesIO()
        pickle.dump(batch, file)
        return file.getvalue()
    return batch


def _file(dataset: Dataset, index: int) -> str:
    files = getattr(dataset, "files", None)
    return f"image {dataset.image_id(index)}" if files is None else str(files(index)[0])
