"""The chain of a bundle whose engines run on a GPU. Between upload and download, the host does nothing.

One stream runs the engines, two others copy. What a picture needs on its way up and down is its own, see
`slot`. The memory between the steps belongs to all pictures, since the stream runs them in order.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import TypeVar

import numpy as np

from ..backends.cuda import Cuda
from ..backends.device import DeviceBackend, DeviceEngine, DeviceTensor
from ..backends.device_array import DeviceArray
from ..backends.exchange import is_on_gpu
from ..bundle import Bundle
from ..bundle.rebuild import rebuild_command
from ..errors import BackendError, DeviceMemoryError, DeviceMemoryWarning, notify
from ..executor import Clock, Executor, is_about_memory
from ..pipeline import Pipeline
from .base import Job, Pending, Picture
from .device_maps import DeviceMaps
from .device_picture import picture_of
from .on_its_way import OnItsWay, Queued
from .programs import Programs
from .read_back import MAPS
from .resident import Resident, Residents
from .resizer import RESIZE_STAGE, Resize, Resizer
from .slot import Slot, Taken
from .vectors import PictureSize, picture_tensors, request_tensors, vocabulary_tensors

#: Sizes of pictures whose vectors stay on the device.
_MOST_SIZES = 8

_Array = TypeVar("_Array", np.ndarray, Taken)


class DeviceChain:
    """Runs `Manifest.pipeline` on a GPU, see `Chain`. It is closed with the executor."""

    def __init__(
        self, bundle: Bundle, executor: Executor, windows_per_run: int, device: tuple[DeviceBackend, Cuda]
    ) -> None:
        """Load the engines of the pipeline.

        Args:
            bundle: a bundle with a pipeline.
            executor: its engines.
            windows_per_run: the most windows per run.
            device: the executor's backend, and its device, see `on_device`.

        Raises:
            BackendError: an engine cannot be loaded.
        """
        self.depth = 2
        manifest = bundle.manifest
        self._model = manifest.model
        self._how_to_resize: str | None = None
        self._backend, self._cuda = device
        self._pipeline = Pipeline(
            manifest.pipeline, {entry.spec.name: entry.spec for entry in manifest.stages}
        )
        engines: dict[str, DeviceEngine] = {}
        has_resize = any(entry.spec.name == RESIZE_STAGE for entry in manifest.stages)
        for stage in (*(step.stage for step in manifest.pipeline), *[RESIZE_STAGE] * has_resize):
            executor.load(stage)
            # The backend has a device, so its engines take tensors of it.
            engines[stage] = executor.engine(stage)  # type: ignore[assignment]
        self._in_flight: deque[OnItsWay] = deque()
        self._begun = self._done = 0
        with self._cuda.current():
            at_once = {"windows": windows_per_run, "rows": _most_rows(self._pipeline)}
            self._programs = Programs(self._pipeline, engines, device, at_once)
            self._residents = Residents(self._cuda, _MOST_SIZES)
            self._maps = DeviceMaps(self._cuda)
            self._resizer: Resizer | None = None
            if not has_resize:
                self._how_to_resize = rebuild_command(bundle.folder, manifest, [RESIZE_STAGE], same_gpus=True)
            else:
                self._resizer = Resizer(self._cuda, engines[RESIZE_STAGE], self._residents)
            self._slots = [Slot(self._cuda, number) for number in range(self.depth)]
        self._unused = list(reversed(self._slots))
        self._open = True
        # Pictures are adopted in other threads, too.
        self._closing = threading.Lock()
        executor.before_close(self.close)

    def check(self, job: Job) -> None:
        """Do nothing: the chain gives everything, see `Chain.check`."""

    def adopt(self, image: object) -> Picture | None:
        """Take an image that lies on the GPU, see `Chain.adopt`. It may be called in any thread."""
        if not is_on_gpu(image):
            return None
        with self._closing:
            self._require_open()
            with self._cuda.current():
                sides = self._model.short_side, self._model.max_side
                return picture_of(image, self._cuda, sides, self._how_to_resize)

    def begin(self, picture: Picture, job: Job) -> Pending:
        """Queue a picture, see `Chain.begin`. If `depth` others are on their way, wait for the first."""
        self._require_open()
        with self._cuda.current():
            if not self._unused:
                self._settle(self._in_flight[0])
            self._sweep()
            slot = self._unused.pop()
            try:
                pending = self._begin(picture, job, slot)
            except BaseException:
                self._drain()
                self._unused.append(slot)
                raise
            self._in_flight.append(pending)
            return pending

    def finish(self, one: OnItsWay) -> None:
        """Wait for a picture that was begun, if it was not waited for already."""
        if one in self._in_flight:
            with self._cuda.current():
                self._settle(one)

    def describe(self) -> dict[str, str]:
        """Return what runs the engines, and that engines do the rest, too."""
        refusal, most = self._programs.recordings.refusal, self._programs.at_once
        return {
            **self._backend.describe(),
            "between engines": "engines",
            "at once": f"up to {most['windows']} windows, {most['rows']} rows",
            "CUDA graphs": "from the third picture of a size" if refusal is None else f"not used: {refusal}",
        }

    def close(self) -> None:
        """Free everything on the device. Pictures on their way are waited for. Closing twice is allowed."""
        with self._closing:
            was_open, self._open = self._open, False
        if not was_open:
            return
        with self._cuda.current():
            for one in list(self._in_flight):
                self._settle(one)
            self._drain()
            self._programs.close()
            self._residents.close()
            if self._resizer is not None:
                self._resizer.close()
            self._maps.close()
            for slot in self._slots:
                slot.close()

    def _begin(self, picture: Picture, job: Job, slot: Slot) -> OnItsWay:
        clock = Clock()
        with clock("queue"):
            number = self._begun + 1
            queued = self._queue(picture, job, slot, number)
        self._begun = number
        return OnItsWay(self, picture, job, slot, number, queued, clock)

    def _queue(self, picture: Picture, job: Job, slot: Slot, number: int) -> Queued:
        """Queue a picture's upload, steps and download. With less at once, if memory runs out meanwhile."""
        while True:
            shared = self._shared(picture, job)
            thresholds = request_tensors(job.object_mask_threshold, job.overlap_threshold)
            own = self._needed({**thresholds, "picture.picture": picture.resized}, job)
            resize = self._resize(picture)
            ready = self._programs.ready(job.tasks, own, shared, slot, resize.scratch if resize else 0)
            used = shared if resize is None else (*shared, resize.vectors)
            for one in used:
                one.last_use = number
            try:
                slot.upload(ready.takes, own)
                if resize is not None:
                    resize.queue(slot.takes["picture.picture"])
                self._programs.queue(ready, number)
                kept = [task for task in job.tasks if task in MAPS and job.ids == "device"]
                maps = {task: self._maps.copy_of(slot.gives[MAPS[task]]) for task in kept}
                slot.download(without=[MAPS[task] for task in kept])
                return Queued(ready, used, maps)
            except BackendError as error:
                known = isinstance(error, DeviceMemoryError) or not is_about_memory(error.message)
                if known or not self._programs.take_less(ready.plan):
                    raise
                self._drain()
                most = self._programs.at_once
                notify(
                    DeviceMemoryWarning(
                        f"memory ran out on the GPU ({error.message}): up to {most['windows']} windows and"
                        f" {most['rows']} rows run at once from now on",
                        "close what else uses the GPU, and open the bundle again",
                    )
                )

    def _resize(self, picture: Picture) -> Resize | None:
        """Return what makes the resized picture on the GPU. None: it is there already."""
        if self._resizer is None or not isinstance(picture.resized, DeviceTensor):
            return None
        assert isinstance(picture.pixels, DeviceArray)
        return self._resizer.of(picture.pixels, picture.resized)

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

    def _settle(self, one: OnItsWay) -> None:
        """Wait for a picture, read what it left, and give its memory to the next one."""
        self._in_flight.remove(one)
        try:
            one.read()
        except BackendError as error:
            one.error = error
        except BaseException:
            one.error = BackendError("waiting for this picture was interrupted", "segment it again")
            # Its memory goes to the next picture.
            self._drain()
            raise
        finally:
            self._done = max(self._done, one.number)
            for resident in one.queued.shared:
                resident.arrived()
            one.picture = None
            self._unused.append(one.slot)

    def _sweep(self) -> None:
        """Free what no picture needs any more."""
        self._maps.sweep()
        gone = self._residents.sweep(self._done)
        self._programs.forget(gone, {slot.number: slot.moved for slot in self._slots})
        self._programs.recordings.sweep(self._done)

    def _require_open(self) -> None:
        if not self._open:
            raise BackendError("the segmenter was closed")

    def _drain(self) -> None:
        """Wait for all streams. What is queued after a failure must not meet what comes next."""
        for stream in (self._cuda.uploads, self._cuda.stream, self._cuda.downloads):
            event = self._cuda.event()
            self._cuda.record(event, stream)
            with suppress(BackendError):
                self._cuda.wait_for(event)
            self._cuda.free_event(event)


def _most_rows(pipeline: Pipeline) -> int:
    """Return the most rows that a run of any step takes."""
    stages = [pipeline.stages[step.stage] for step in pipeline.steps if step.repeat == "rows"]
    return max((stage.axis("rows").maximum for stage in stages), default=1)
