"""The chain of a bundle whose engines run on a GPU. Between upload and download, the host does nothing.

One stream runs the engines, two others copy. What pictures need on their way up and down is their own, see
`slot`. The memory between the steps belongs to all pictures, since the stream runs them in order.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from ..backends.cuda import Cuda
from ..backends.device import DeviceBackend, DeviceEngine
from ..backends.exchange import is_on_gpu
from ..bundle import Bundle
from ..bundle.rebuild import rebuild_command
from ..errors import BackendError, DeviceMemoryError
from ..executor import Clock, Executor
from ..pipeline import Pipeline
from .base import Job, Pending, Picture
from .device_picture import picture_of
from .groups import Groups
from .on_its_way import OnTheirWay
from .queueing import Queueing
from .resizer import RESIZE_STAGE
from .slot import Slot


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
        self._backend, self._cuda = device
        stages = {entry.spec.name: entry.spec for entry in manifest.stages}
        engines: dict[str, DeviceEngine] = {}
        for stage in (*(step.stage for step in manifest.pipeline), *{RESIZE_STAGE} & stages.keys()):
            executor.load(stage)
            # The backend has a device, so its engines take tensors of it.
            engines[stage] = executor.engine(stage)  # type: ignore[assignment]
        self._how_to_resize: str | None = None
        if RESIZE_STAGE not in engines:
            self._how_to_resize = rebuild_command(bundle.folder, manifest, [RESIZE_STAGE], same_gpus=True)
        self._in_flight: deque[OnTheirWay] = deque()
        self._begun = self._done = 0
        with self._cuda.current():
            pipeline = Pipeline(manifest.pipeline, stages)
            self._queueing = Queueing(pipeline, self._model, engines, device, windows_per_run)
            self._slots = [Slot(self._cuda, number) for number in range(self.depth)]
        self._programs = self._queueing.programs
        self._groups = Groups(self._queueing, self._model)
        self._unused = list(reversed(self._slots))
        self._open = True
        # Pictures are adopted in other threads, too.
        self._closing = threading.Lock()
        executor.before_close(self.close)

    @property
    def together(self) -> int:
        """The most pictures that run together, see `Chain.together`."""
        return self._groups.most

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
        """Queue a picture, see `Chain.begin`. If `depth` groups are on their way, wait for the first."""
        return self.begin_together([picture], job)[0]

    def begin_together(self, pictures: Sequence[Picture], job: Job) -> Sequence[Pending]:
        """Queue the first pictures, see `Chain.begin_together`.

        A group that cannot be queued is tried again with half as many pictures, so that each picture gets
        what it would get alone.
        """
        self._require_open()
        with self._cuda.current():
            count = self._groups.first_group(pictures, job) if len(pictures) > 1 else 1
            while True:
                try:
                    return self._begin(pictures[:count], job).pictures
                except DeviceMemoryError:
                    if count == 1:
                        raise
                    count = self._groups.take_fewer(pictures[0], job, count)
                except BackendError:
                    if count == 1:
                        raise
                    count //= 2

    def finish(self, group: OnTheirWay) -> None:
        """Wait for pictures that were begun, if they were not waited for already."""
        if group in self._in_flight:
            with self._cuda.current():
                self._settle(group)

    def describe(self) -> dict[str, str]:
        """Return what runs the engines, and that engines do the rest, too."""
        refusal, most = self._programs.recordings.refusal, self._programs.at_once
        return {
            **self._backend.describe(),
            "between engines": "engines",
            "at once": f"up to {most['windows']} windows, {most['rows']} rows",
            "together": self._groups.describe(),
            "CUDA graphs": "from the third picture of a size" if refusal is None else f"not used: {refusal}",
        }

    def close(self) -> None:
        """Free everything on the device. Pictures on their way are waited for. Closing twice is allowed."""
        with self._closing:
            was_open, self._open = self._open, False
        if not was_open:
            return
        with self._cuda.current():
            for group in list(self._in_flight):
                self._settle(group)
            self._queueing.drain()
            self._queueing.close()
            for slot in self._slots:
                slot.close()

    def _begin(self, pictures: Sequence[Picture], job: Job) -> OnTheirWay:
        if not self._unused:
            self._settle(self._in_flight[0])
        self._queueing.sweep(self._done, self._slots)
        slot = self._unused.pop()
        clock, number = Clock(), self._begun + 1
        try:
            with clock("queue"):
                queued = self._queueing.queue(pictures, job, slot, number)
        except BaseException:
            self._queueing.drain()
            self._unused.append(slot)
            raise
        self._begun = number
        notes = self._groups.notes(pictures[0], job)
        group = OnTheirWay(self, pictures, job, slot, number, queued, clock, notes)
        self._in_flight.append(group)
        return group

    def _settle(self, group: OnTheirWay) -> None:
        """Wait for a group, read what it left, and give its memory to the next one."""
        self._in_flight.remove(group)
        failed: BackendError | None = None
        try:
            group.read()
        except BackendError as error:
            failed = error
        except BaseException:
            group.fail(BackendError("waiting for this picture was interrupted", "segment it again"))
            # Its memory goes to the next picture.
            self._queueing.drain()
            raise
        finally:
            self._done = max(self._done, group.number)
            for resident in group.queued.shared:
                resident.arrived()
            given = group.leave()
            self._unused.append(group.slot)
        if failed is not None:
            self._one_by_one(group, given, failed)

    def _one_by_one(self, group: OnTheirWay, given: Sequence[Picture], failed: BackendError) -> None:
        """Run the pictures of a group that failed again, each alone. A picture that was alone has failed."""
        group.fail(failed)
        if len(given) == 1:
            return
        # Work that was queued for the group may still use its memory.
        self._queueing.drain()
        for one, picture in zip(group.pictures, given, strict=True):
            try:
                alone = self._begin([picture], group.job)
                self._settle(alone)
                one.take(alone.pictures[0])
            except BackendError as error:
                one.error = error

    def _require_open(self) -> None:
        if not self._open:
            raise BackendError("the segmenter was closed")
