"""Queues pictures on a GPU: their upload, their steps, their download. All work that the GPU gets is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..backends.cuda import Cuda
from ..backends.device import DeviceBackend, DeviceEngine, DeviceTensor
from ..backends.device_array import DeviceArray
from ..bundle.manifest import ModelSpec
from ..errors import BackendError, DeviceMemoryError, DeviceMemoryWarning, notify
from ..executor import is_about_memory
from ..pipeline import Pipeline
from ..pipeline.sizes import named
from ..pipeline.step import PICTURE, ROWS, WINDOWS
from ..task import Task
from .base import Job, Picture
from .device_maps import DeviceMaps
from .programs import Programs, Ready
from .read_back import MAPS
from .resident import Resident, Residents
from .resizer import RESIZE_STAGE, Resize, Resizer
from .slot import Slot, Taken
from .vectors import PictureSize, picture_tensors, request_tensors, vocabulary_tensors

#: Sizes of pictures whose vectors stay on the device.
_MOST_SIZES = 8

_Array = TypeVar("_Array", np.ndarray, Taken)


@dataclass(frozen=True)
class Queued:
    """What was queued for pictures that run together.

    Attributes:
        ready: their program.
        shared: what they use that stays on the device.
        maps: for each picture its id maps, if they stay on the device.
    """

    ready: Ready
    shared: tuple[Resident, ...]
    maps: tuple[Mapping[Task, DeviceArray], ...]


class Queueing:
    """Queues pictures, and holds what they share. The GPU is the current one whenever it is used.

    Attributes:
        programs: those of the pipeline.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        model: ModelSpec,
        engines: Mapping[str, DeviceEngine],
        device: tuple[DeviceBackend, Cuda],
        windows_per_run: int,
    ) -> None:
        """Hold no memory yet.

        Args:
            pipeline: the bundle's.
            model: the bundle's.
            engines: those of the pipeline, and that of the stage that resizes if there is one.
            device: their backend, and its device.
            windows_per_run: the most windows per run.
        """
        self._pipeline, self._model = pipeline, model
        _, self._cuda = device
        self.programs = Programs(
            pipeline, engines, device, {WINDOWS: windows_per_run, ROWS: _most_rows(pipeline)}
        )
        self._residents = Residents(self._cuda, _MOST_SIZES)
        self._maps = DeviceMaps(self._cuda)
        resize = engines.get(RESIZE_STAGE)
        self._resizer = None if resize is None else Resizer(self._cuda, resize, self._residents)

    def most_pictures(self, picture: Picture, job: Job) -> int:
        """Return how many pictures like this one run together if there is memory enough."""
        if not self.programs.can_group:
            return 1
        given = {name: one.shape for name, one in self._own([picture], job).items()}
        for shared in self._shared(picture, job):
            given |= {name: one.shape for name, one in shared.tensors.items()}
        return self.programs.most_pictures(job.tasks, given)

    def queue(self, pictures: Sequence[Picture], job: Job, slot: Slot, number: int) -> Queued:
        """Queue upload, steps and download of pictures that are alike.

        If memory runs out meanwhile, less runs at once from then on. One picture is queued again then.

        Args:
            pictures: one, or several that can run together.
            job: what is wanted of them.
            slot: their memory.
            number: that of the group.

        Raises:
            DeviceMemoryError: the GPU has too little memory.
            BackendError: an engine could not be queued.
        """
        while True:
            shared = self._shared(pictures[0], job)
            own = self._own(pictures, job)
            resizes = self._resizes(pictures)
            scratch = max((one.scratch for one in resizes), default=0)
            ready = self.programs.ready(job.tasks, own, shared, slot, scratch, len(pictures))
            used = (*shared, *dict.fromkeys(one.vectors for one in resizes))
            for resident in used:
                resident.last_use = number
            try:
                slot.upload(ready.takes, own)
                for place, resize in enumerate(resizes):
                    resize.queue(slot.takes[named(PICTURE, place)])
                self.programs.queue(ready, number)
                kept = [task for task in job.tasks if task in MAPS and job.ids == "device"]
                maps = [
                    {task: self._maps.copy_of(slot.gives[named(MAPS[task], place)]) for task in kept}
                    for place in range(len(pictures))
                ]
                slot.download([named(MAPS[task], place) for task in kept for place in range(len(pictures))])
                return Queued(ready, used, tuple(maps))
            except BackendError as error:
                known = isinstance(error, DeviceMemoryError) or not is_about_memory(error.message)
                if known or not self.programs.take_less(ready.plan):
                    raise
                self.drain()
                most = self.programs.at_once
                notify(
                    DeviceMemoryWarning(
                        f"memory ran out on the GPU ({error.message}): up to {most[WINDOWS]} windows and"
                        f" {most[ROWS]} rows run at once from now on",
                        "close what else uses the GPU, and open the bundle again",
                    )
                )
                if len(pictures) > 1:
                    raise

    def sweep(self, done: int, slots: Sequence[Slot]) -> None:
        """Free what no picture needs any more. `done`: the last group before which all are done."""
        self._maps.sweep()
        gone = self._residents.sweep(done)
        self.programs.forget(gone, {slot.number: slot.moved for slot in slots})
        self.programs.recordings.sweep(done)

    def drain(self) -> None:
        """Wait for all streams. What is queued after a failure must not meet what comes next."""
        for stream in (self._cuda.uploads, self._cuda.stream, self._cuda.downloads):
            event = self._cuda.event()
            self._cuda.record(event, stream)
            with suppress(BackendError):
                self._cuda.wait_for(event)
            self._cuda.free_event(event)

    def close(self) -> None:
        """Free everything. No picture may be on its way."""
        self.programs.close()
        self._residents.close()
        if self._resizer is not None:
            self._resizer.close()
        self._maps.close()

    def _own(self, pictures: Sequence[Picture], job: Job) -> dict[str, Taken]:
        """Return what goes up with pictures: the thresholds once, and the pixels of each."""
        thresholds = request_tensors(job.object_mask_threshold, job.overlap_threshold)
        pixels = {named(PICTURE, place): one.resized for place, one in enumerate(pictures)}
        return {**self._needed(thresholds, job), **pixels}

    def _resizes(self, pictures: Sequence[Picture]) -> list[Resize]:
        """Return what makes the resized pictures on the GPU. Nothing: they are there already."""
        resizes = []
        for one in pictures:
            if self._resizer is not None and isinstance(one.resized, DeviceTensor):
                assert isinstance(one.pixels, DeviceArray)
                resizes.append(self._resizer.of(one.pixels, one.resized))
        return resizes

    def _shared(self, picture: Picture, job: Job) -> tuple[Resident, Resident]:
        """Return the vectors of the picture's size, and the vocabulary, on the device."""
        model = self._model
        height, width = picture.resized.shape[:2]
        size = PictureSize(
            picture=(height, width),
            padded=(height + -height % model.divisor, width + -width % model.divisor),
            output=picture.size,
            window=model.window,
            clip_side=model.clip_image_size,
        )
        vectors = self._residents.of_size((size, job.tasks), lambda: self._needed(picture_tensors(size), job))
        table = self._residents.of_table(
            job.table, lambda: vocabulary_tensors(job.table, model.alpha, model.beta)
        )
        return vectors, table

    def _needed(self, arrays: Mapping[str, _Array], job: Job) -> dict[str, _Array]:
        """Return what the steps of a job take."""
        taken = {one for step in self._pipeline.for_tasks(job.tasks) for one in step.inputs.values()}
        return {name: array for name, array in arrays.items() if name in taken}


def _most_rows(pipeline: Pipeline) -> int:
    """Return the most rows that a run of any step takes."""
    stages = [pipeline.stages[step.stage] for step in pipeline.steps if step.repeat == ROWS]
    return max((stage.axis(ROWS).maximum for stage in stages), default=1)
